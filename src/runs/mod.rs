//! Runs from config to finished directory: pre-training, fine-tuning, comparison; and a finished classifier.
//!
//! Layer 8. Each reads top to bottom in the order a run happens.

pub mod audit;
pub mod classifier;
pub mod comparison;
pub mod fetch;
pub mod finetune;
mod lifecycle;
pub mod peak;
pub mod pretrain;
mod start;

use crate::run_dir::Existing;

/// What a run is told beside its config.
#[derive(Clone, Debug)]
pub struct Options {
    /// What to do with a run that is already there.
    pub existing: Existing,
    /// Go on although the data changed since the checkpoint.
    pub allow_data_change: bool,
}
