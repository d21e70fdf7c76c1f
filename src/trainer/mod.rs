//! The training loop, one for both phases.
//!
//! Layer 5. `step` is one optimizer update, station by station; `run` says when to evaluate, save, log and
//! stop; a `Task` says what the loss is.

mod classification;
mod config;
mod footprint;
mod language;
mod memory;
mod pace;
mod run;
mod spikes;
mod state;
mod step;
#[cfg(test)]
mod tests;
mod upload;

pub use crate::checkpoint::Counters;
pub use classification::{
    ClassificationData, ClassificationSettings, ClassificationTask, ClassifierConfig, Freeze,
    SelectionMetric, probabilities, stages,
};
pub use config::{OnSpike, TrainConfig};
pub(crate) use footprint::Asked;
pub use language::{LanguageSums, LanguageTask, Prompts};
pub(crate) use pace::per_sec;
pub(crate) use run::{Outcome, Run};
pub use state::State;
pub use step::{StepReport, StepSettings, step};
pub use upload::on_device;

use candle_core::Tensor;
use serde_json::{Map, Value};

use crate::data::Batch;
use crate::error::Result;
use crate::model::{Dropout, Params};
use crate::ops::Traced;
use crate::optim::Stage;
use crate::progress::Progress;

/// What a run optimises.
pub trait Task {
    /// The micro-batches of optimizer step `step`, a pure function of the seed and the step.
    fn batches(&mut self, step: u64) -> Result<Vec<Batch>>;

    /// What the summed loss of a batch is divided by: its counted targets.
    fn count(&self, batch: &Batch) -> f64;

    /// From here on the parameters that `stage` trains get gradients, and no others.
    fn begin_stage(&mut self, stage: &Stage, params: &Params) -> Result<()>;

    /// The losses of a batch, summed and times `scale`.
    fn loss(&self, batch: &Batch, scale: f64, dropout: &mut Dropout) -> Result<BatchLoss>;

    /// Loss and scores on the whole validation part.
    fn evaluate(&self, progress: &Progress) -> Result<Evaluation>;

    /// Optimizer steps of one pass over the training part.
    fn steps_per_epoch(&self) -> f64;

    /// Steps between evaluations where the config names none; 0 evaluates at the end only.
    fn default_eval_interval(&self) -> u64;
}

/// The loss of a batch, in nats.
pub struct BatchLoss {
    /// Of the targets alone: what is logged.
    pub of_targets: Tensor,
    /// What backward starts from; more than the targets where a task has a loss beside them.
    pub total: Traced,
}

impl From<Traced> for BatchLoss {
    fn from(total: Traced) -> Self {
        Self { of_targets: total.value().clone(), total }
    }
}

/// Result of one evaluation.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Validation loss in nats per target.
    pub loss: f64,
    /// Higher is better; the best weights are kept by it.
    pub score: f64,
    /// What goes into metrics.jsonl beside the loss.
    pub fields: Map<String, Value>,
}
