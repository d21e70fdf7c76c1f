//! What runs find out, as values and as they are stored: `results.json` of each command and what stands beside it.
//!
//! Layer 0.

mod arm;
mod audit;
mod baseline;
mod cells;
mod compare;
mod facts;
mod finetune;
mod inspect;
mod lines;
mod log;
mod mistakes;
mod predictions;
mod pretrain;

pub use arm::{Arm, StartName, cell_folder};
pub use audit::{AuditResults, Overlap, OverlapExample};
pub use baseline::{BaselineResults, Baselined, CombinedParts};
pub use cells::{Cell, CellRun, Cells, folds_of};
pub use compare::{
    ArmScores, ByBudget, CompareResults, Comparison, Cost, OperatingMeans, PairedByBudget, ScoreSummaries,
    Summary, TrainingMeans, TransferPoint,
};
pub use facts::RunFacts;
pub use finetune::{FinetuneResults, FinetuneScores, Finetuned, Leakage, PartSummary, TrainingFacts};
pub use inspect::{ClassSummary, InspectResults, LengthSummary, RepeatSummary, TokenSummary};
pub use log::Log;
pub use mistakes::Mistake;
pub use predictions::Predictions;
pub use pretrain::{PretrainResults, Pretrained, Sample};
