//! Tables from what runs stored; reads run directories and nothing else.
//!
//! Layer 6, but sees only layer 0, so old runs can be reported without model or device.

mod compare;
mod results;
mod tables;

pub use compare::{Arm, BudgetRuns, compare};
pub use results::{BaselineResults, CompareResults, FinetuneResults, PretrainResults, Summary};
pub use tables::{Style, compare_report, finetune_report, pretrain_report, report, scores_table};
