//! Runs from config to finished directory: pre-training, fine-tuning, comparison; and a finished classifier.
//!
//! Layer 8. Each reads top to bottom in the order a run happens.

pub mod audit;
pub mod classifier;
pub mod comparison;
mod context;
pub mod fetch;
pub mod finetune;
mod lifecycle;
pub mod peak;
pub mod pretrain;
mod start;

pub use context::Context;
