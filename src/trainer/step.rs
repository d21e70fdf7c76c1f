//! One optimizer step, station by station.

use super::{State, Task};
use crate::error::{Error, Exit, Result};
use crate::model::Dropout;
use crate::ops::GradientSums;
use crate::optim::Gradients;

/// What one step did.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// Mean loss over the counted targets of all micro-batches, in nats.
    pub train_loss: f64,
    /// Global L2 norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Tokens trained on, padding left out.
    pub tokens: u64,
}

/// Settings of one step.
#[derive(Clone, Copy, Debug)]
pub struct StepSettings {
    /// Seed of the dropout masks.
    pub seed: u64,
    /// Probability of dropping.
    pub dropout: f64,
    /// Rate of the trunk.
    pub learning_rate: f64,
    /// Rate of a classification head.
    pub head_learning_rate: f64,
    /// Largest gradient norm; 0 for none.
    pub max_grad_norm: f64,
}

/// Micro-batches -> losses -> gradients of their global mean -> finite check -> clip -> AdamW.
///
/// Every loss is divided by the target count of the whole step, so 1 x 8, 2 x 4 and 8 x 1 sequences give
/// the same update. Errors: loss or gradient norm not finite (76), before any parameter has moved.
pub fn step(task: &mut dyn Task, state: &mut State, settings: &StepSettings) -> Result<StepReport> {
    let number = state.counters.step;
    let batches = task.batches(number)?;
    let count: f64 = batches.iter().map(|batch| task.count(batch)).sum();

    let mut sums = GradientSums::default();
    let mut train_loss = 0.0;
    for (micro_step, batch) in batches.iter().enumerate() {
        let mut dropout = Dropout::new(settings.dropout, settings.seed, number, micro_step as u64);
        let loss = task.loss(batch, 1.0 / count, &mut dropout)?;
        train_loss += f64::from(loss.value().to_scalar::<f32>()?);
        sums.backward(&loss)?;
    }

    let gradients = Gradients::of(sums, &state.params, |name| state.trainable.contains(name))?;
    let grad_norm = gradients.norm()?;
    if !train_loss.is_finite() || !grad_norm.is_finite() {
        let what = format!("step {}: loss {train_loss}, gradient norm {grad_norm}", number + 1);
        let hint = "lower optim.learning_rate or raise optim.warmup_steps; the last checkpoint is intact";
        return Err(Error::new(Exit::Diverged, format!("training diverged at {what}; {hint}")));
    }
    let clips = settings.max_grad_norm > 0.0 && grad_norm > settings.max_grad_norm;
    let grad_scale = if clips { settings.max_grad_norm / grad_norm } else { 1.0 };

    state.optimizer.update(&state.params, &gradients, number + 1, grad_scale, |name| {
        if name == "score.weight" { settings.head_learning_rate } else { settings.learning_rate }
    })?;
    let tokens = batches.iter().map(|batch| batch.tokens()).sum();
    state.counters.step += 1;
    state.counters.tokens += tokens;
    Ok(StepReport { train_loss, grad_norm, tokens })
}
