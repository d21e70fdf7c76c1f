//! One optimizer step, station by station.

use candle_core::{DType, Tensor};

use super::{BatchLoss, State};
use crate::data::Batch;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Dropout;
use crate::ops::GradientSums;
use crate::optim::{Gradients, SpikeLimits, Update};

/// What one step did. On a GPU its figures may still be on their way: reading them waits for the step.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// Which step, counted from 1.
    pub number: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// f64 scalars on the device.
    loss: Tensor,
    grad_norm: Tensor,
}

/// The figures of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Mean loss over the counted targets of all micro-batches, in nats.
    pub train_loss: f64,
    /// Global L2 norm of the gradient before clipping.
    pub grad_norm: f64,
}

impl StepReport {
    /// The figures of this step.
    ///
    /// Errors: as [`StepReport::read_all`].
    pub fn read(&self) -> Result<Figures> {
        let figures = Self::read_all(std::slice::from_ref(self))?;
        Ok(figures[0])
    }

    /// The figures of all these steps, by one copy from the device.
    ///
    /// Errors: a loss or gradient norm that is not finite (76); no parameter has moved since the step before.
    pub fn read_all(reports: &[Self]) -> Result<Vec<Figures>> {
        let scalars: Vec<&Tensor> =
            reports.iter().flat_map(|report| [&report.loss, &report.grad_norm]).collect();
        if scalars.is_empty() {
            return Ok(Vec::new());
        }
        let values = Tensor::stack(&scalars, 0)?.to_vec1::<f64>()?;
        let read = |(report, values): (&Self, &[f64])| {
            let (train_loss, grad_norm) = (values[0], values[1]);
            if train_loss.is_finite() && grad_norm.is_finite() {
                return Ok(Figures { train_loss, grad_norm });
            }
            let what = format!("step {}: loss {train_loss}, gradient norm {grad_norm}", report.number);
            let hint = "lower optim.learning_rate or raise optim.warmup_steps";
            Err(Error::new(ErrorKind::Diverged, format!("training diverged at {what}; {hint}")))
        };
        reports.iter().zip(values.chunks_exact(2)).map(read).collect()
    }
}

/// Settings of one step.
#[derive(Clone, Copy, Debug)]
pub struct StepSettings {
    /// Seed of the dropout masks.
    pub seed: u64,
    /// Probability of dropping.
    pub dropout: f64,
    /// Learning rate before the scale of each group.
    pub learning_rate: f64,
    /// Largest gradient norm; 0 for none.
    pub max_grad_norm: f64,
    /// A step that these make a spike updates nothing.
    pub skip_spikes: SpikeLimits,
}

/// Micro-batches -> losses -> gradients of their global mean -> finite check -> clip -> update.
///
/// `loss` gives the summed loss of a micro-batch, times a factor: 1 / `count`, with the targets of the whole step
/// counted, so that 1 x 8, 2 x 4 and 8 x 1 sequences give the same update. A loss or gradient norm that is not
/// finite keeps every parameter where it is, and so does a spike that is to be skipped.
/// Errors: on the CPU that (76); on a GPU the report says so when it is read.
pub fn step(
    state: &mut State,
    batches: &[Batch],
    count: f64,
    settings: &StepSettings,
    loss: impl Fn(&Batch, f64, &mut Dropout) -> Result<BatchLoss>,
) -> Result<StepReport> {
    let (number, stage) = (state.counters.step, &state.stages[state.counters.stage]);

    let mut sums = GradientSums::default();
    let mut total = Tensor::zeros((), DType::F64, &state.params.device())?;
    for (micro_step, batch) in batches.iter().enumerate() {
        let mut dropout = Dropout::new(settings.dropout, settings.seed, number, micro_step as u64);
        let loss = loss(batch, 1.0 / count, &mut dropout)?;
        total = (total + loss.of_targets.to_dtype(DType::F64)?)?;
        sums.backward(&loss.total)?;
    }

    let gradients = Gradients::of(sums, &state.params, |name| stage.trains(name))?;
    let tokens = batches.iter().map(|batch| batch.tokens()).sum();
    let report = StepReport { number: number + 1, tokens, loss: total, grad_norm: gradients.norm()? };
    let may_skip = settings.skip_spikes != SpikeLimits::default();
    let is_spike = |figures: Figures| {
        let Figures { train_loss, grad_norm } = figures;
        state.counters.watch.spike(train_loss, grad_norm, settings.skip_spikes).is_some()
    };
    if (state.params.device().is_cpu() || may_skip) && is_spike(report.read()?) {
        state.counters.skipped_updates += 1;
        state.counters.step += 1;
        state.counters.tokens += tokens;
        return Ok(report);
    }
    let update = Update {
        groups: &stage.groups,
        learning_rate: settings.learning_rate,
        loss: &report.loss,
        norm: &report.grad_norm,
        max_norm: settings.max_grad_norm,
    };
    state.optimizer.update(&state.params, &gradients, &update)?;
    state.counters.step += 1;
    state.counters.tokens += tokens;
    Ok(report)
}
