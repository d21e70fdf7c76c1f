//! Fine-tuning as a classifier: its settings, its stages, its task, its predictions.

mod config;
mod predict;
mod stages;
mod task;
#[cfg(test)]
mod tests;

pub use config::{ClassifierConfig, Freeze, SelectionMetric};
pub use predict::probabilities;
pub use stages::stages;
pub use task::{ClassificationData, ClassificationSettings, ClassificationTask};
