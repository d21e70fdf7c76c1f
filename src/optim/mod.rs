//! From gradients to new parameters: accumulation, clipping, learning-rate schedule, AdamW, and a watch on the losses.
//!
//! Layer 3.

mod adamw;
mod gradients;
mod groups;
mod loss_watch;
mod schedule;

pub use adamw::{AdamW, Update};
pub use gradients::Gradients;
pub use groups::{ParamGroup, Stage};
pub use loss_watch::{LossWatch, Spike, SpikeLimits};
pub use schedule::{Schedule, ScheduleKind};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::ranges;

/// `[optim]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OptimConfig {
    /// Peak learning rate.
    #[schemars(range(min = 0, max = 100))]
    pub learning_rate: f64,
    /// Course of the learning rate after the warm-up.
    pub schedule: ScheduleKind,
    /// Steps of linear warm-up from 0.
    pub warmup_steps: u64,
    /// The learning rate ends at this share of its peak.
    #[schemars(range(min = 0, max = 1))]
    pub min_lr_ratio: f64,
    /// Last share of a warmup-stable-decay run in which the rate falls.
    #[schemars(range(min = 0, max = 1))]
    pub decay_fraction: f64,
    /// Decoupled weight decay of the matrices.
    #[schemars(range(min = 0, max = 100))]
    pub weight_decay: f64,
    /// Whether the embeddings decay too; norms and biases never do.
    pub decay_embeddings: bool,
    /// Decay of the first moment.
    #[schemars(range(min = 0, max = 0.9999999))]
    pub beta1: f64,
    /// Decay of the second moment.
    #[schemars(range(min = 0, max = 0.9999999))]
    pub beta2: f64,
    /// Added to the root of the second moment.
    #[schemars(range(min = 1e-30, max = 1))]
    pub eps: f64,
    /// Gradients are scaled down to this global norm; 0 turns clipping off.
    #[schemars(range(min = 0, max = 1e30))]
    pub max_grad_norm: f64,
}

impl Default for OptimConfig {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            schedule: ScheduleKind::Cosine,
            warmup_steps: 50,
            min_lr_ratio: 0.1,
            decay_fraction: 0.3,
            weight_decay: 0.1,
            decay_embeddings: false,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            max_grad_norm: 1.0,
        }
    }
}

impl OptimConfig {
    /// Errors: a value outside its range, by key.
    pub fn check(&self) -> Result<()> {
        ranges::check("optim", self)
    }
}
