//! From gradients to new parameters: accumulation, clipping, learning-rate schedule, AdamW and Muon, and a watch on the
//! losses.
//!
//! Layer 3.

mod gradients;
mod groups;
mod loss_watch;
mod optimizer;
mod schedule;

pub use gradients::Gradients;
pub use groups::{ParamGroup, Stage};
pub use loss_watch::{LossWatch, Spike, SpikeLimits};
pub use optimizer::{Optimizer, Update};
pub use schedule::{Schedule, ScheduleKind};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::ranges;

/// Who updates a parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Both moments of each element (Loshchilov and Hutter 2019, arXiv 1711.05101).
    #[default]
    AdamW,
    /// Momentum made orthogonal (Jordan et al. 2024).
    Muon,
}

/// `[optim]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OptimConfig {
    /// `adamw` for all parameters, or `muon` for the matrices of the blocks and AdamW for the others: embeddings, head,
    /// norms, biases and low-rank updates. Muon's updates are as large as AdamW's, so both take the same learning rates.
    pub kind: OptimizerKind,
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
    /// Decay of Muon's momentum.
    #[schemars(range(min = 0, max = 0.9999999))]
    pub muon_momentum: f64,
    /// Gradients are scaled down to this global norm; 0 turns clipping off.
    #[schemars(range(min = 0, max = 1e30))]
    pub max_grad_norm: f64,
}

impl Default for OptimConfig {
    fn default() -> Self {
        Self {
            kind: OptimizerKind::AdamW,
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
            muon_momentum: 0.95,
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
