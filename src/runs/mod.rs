//! Runs from config to finished directory: pre-training, fine-tuning, comparison; and the models they leave.
//!
//! Layer 8. Each reads top to bottom in the order a run happens, and returns what came out.

pub mod audit;
mod beside;
mod changes;
mod classifier;
mod comparison;
mod context;
pub mod fetch;
mod finetune;
mod language_model;
mod lifecycle;
mod model;
pub mod peak;
mod pretrain;
mod start;
mod stored;

pub use classifier::{Classifier, Evaluation, Prediction};
pub use comparison::compare;
pub use context::Context;
pub use finetune::finetune;
pub use language_model::LanguageModel;
pub use model::Model;
pub use pretrain::pretrain;
