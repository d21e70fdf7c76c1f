//! `[train]`: batches, limits, and how often to look.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::checkpoint::Counters;
use crate::device::Precision;
use crate::error::{Error, Result};
use crate::optim::SpikeLimits;
use crate::ranges;

/// What a loss spike brings about beside a warning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnSpike {
    /// Nothing.
    #[default]
    Warn,
    /// The step updates nothing.
    Skip,
    /// The run returns to the newest checkpoint from before and leaves out the batches up to the spike.
    GoBack,
}

/// `[train]`; 0 sets no limit, the first limit reached ends the run. Without any, it follows from the data: see
/// docs/configuration.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Sequences per forward pass.
    #[schemars(range(min = 1, max = 16777216))]
    pub micro_batch_size: usize,
    /// Micro-batches per optimizer step.
    #[schemars(range(min = 1, max = 16777216))]
    pub grad_accum_steps: usize,
    /// Tokens per sequence; texts of the classifier are cut to it. When fine-tuning, 0 takes what 99 of 100 training texts
    /// stay within, at most 512.
    #[schemars(range(min = 0))]
    pub seq_len: usize,
    /// Probability of dropping embeddings and block outputs.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub dropout: f64,
    /// Compute the activations of each block again in the backward pass instead of keeping them: less memory,
    /// about a quarter more time, the same bits.
    pub recompute: bool,
    /// Number type of activations: `auto` (bf16 on a GPU, else f32), `f32`, `tf32` or `bf16`.
    pub precision: Precision,
    /// Limit in optimizer steps.
    pub max_steps: u64,
    /// Limit in tokens.
    pub max_tokens: u64,
    /// Limit in passes over the training part.
    #[schemars(range(min = 0))]
    pub max_epochs: f64,
    /// Limit in minutes; the only one that makes a run depend on the speed of the machine.
    #[schemars(range(min = 0))]
    pub max_minutes: f64,
    /// Steps between log events.
    #[schemars(range(min = 1, max = 16777216))]
    pub log_interval: u64,
    /// Steps between evaluations; 0 evaluates once per epoch when fine-tuning, at the end when pre-training.
    pub eval_interval: u64,
    /// Steps between checkpoints; 0 saves at the end only, and as `save_minutes` says.
    pub save_interval: u64,
    /// Minutes after which a checkpoint is saved besides, so that a power cut costs no more; 0 for none.
    #[schemars(range(min = 0))]
    pub save_minutes: f64,
    /// Newest checkpoints to keep; 0 keeps all.
    pub keep_checkpoints: usize,
    /// A loss this many standard deviations above the mean of the last 128 steps is a spike; 0 for none.
    #[schemars(range(min = 0))]
    pub spike_loss_z: f64,
    /// The same of the gradient norm.
    #[schemars(range(min = 0))]
    pub spike_grad_norm_z: f64,
    /// What a spike brings about: `warn`, `skip` (this step updates nothing) or `go_back` (to the newest checkpoint from
    /// before, then on with the batches after the spike).
    pub on_spike: OnSpike,
    /// Evaluations without a better score before the run ends; 0 never stops early.
    pub early_stopping_patience: u64,
    /// End with the weights of the best evaluation instead of the last.
    pub restore_best: bool,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            micro_batch_size: 32,
            grad_accum_steps: 1,
            seq_len: 128,
            dropout: 0.0,
            recompute: false,
            precision: Precision::Auto,
            max_steps: 0,
            max_tokens: 0,
            max_epochs: 0.0,
            max_minutes: 0.0,
            log_interval: 10,
            eval_interval: 0,
            save_interval: 0,
            save_minutes: 5.0,
            keep_checkpoints: 2,
            spike_loss_z: 6.0,
            spike_grad_norm_z: 0.0,
            on_spike: OnSpike::Warn,
            early_stopping_patience: 0,
            restore_best: true,
        }
    }
}

impl TrainConfig {
    /// Errors: a value outside its range, by key.
    pub fn check(&self, max_position_embeddings: usize) -> Result<()> {
        self.check_open(max_position_embeddings)?;
        if self.seq_len == 0 {
            return Err(Self::wrong_length(0, max_position_embeddings));
        }
        Ok(())
    }

    /// As `check`, where the length may be left open.
    pub fn check_open(&self, max_position_embeddings: usize) -> Result<()> {
        ranges::check("train", self)?;
        match self.seq_len {
            1 => Err(Self::wrong_length(1, max_position_embeddings)),
            tokens if tokens > max_position_embeddings => {
                Err(Self::wrong_length(tokens, max_position_embeddings))
            }
            _ => Ok(()),
        }
    }

    fn wrong_length(seq_len: usize, max_position_embeddings: usize) -> Error {
        let range = format!("lie in 2..={max_position_embeddings}, the model's number of positions");
        Error::outside("train.seq_len", seq_len, range)
    }

    /// Whether nothing says when to end.
    pub fn is_endless(&self) -> bool {
        self.max_steps == 0 && self.max_tokens == 0 && self.max_epochs == 0.0 && self.max_minutes == 0.0
    }

    /// Sequences per optimizer step.
    pub fn global_batch_size(&self) -> usize {
        self.micro_batch_size.saturating_mul(self.grad_accum_steps)
    }

    /// What counts as a spike.
    pub fn spike_limits(&self) -> SpikeLimits {
        SpikeLimits { loss_z: self.spike_loss_z, grad_norm_z: self.spike_grad_norm_z }
    }

    /// Steps in all, as far as the limits say so before the first; 0 where they do not.
    fn steps(&self, steps_per_epoch: f64) -> u64 {
        let epochs = (self.max_epochs * steps_per_epoch).ceil() as u64;
        [self.max_steps, epochs].into_iter().filter(|steps| *steps > 0).min().unwrap_or(0)
    }

    /// What to say of a warm-up that lasts as long as the run.
    pub fn endless_warmup(&self, warmup_steps: u64, steps_per_epoch: f64) -> Option<String> {
        let steps = self.steps(steps_per_epoch);
        (0 < steps && steps < warmup_steps).then(|| {
            format!(
                "optim.warmup_steps is {warmup_steps}, but the run ends after {steps}: its learning rate never reaches \
                 optim.learning_rate; lower optim.warmup_steps, or train longer"
            )
        })
    }

    /// One line on what a step is and how many there are, as far as that is known before the first.
    pub fn sizes(&self, steps_per_epoch: f64) -> String {
        let (rows, times, all) = (self.micro_batch_size, self.grad_accum_steps, self.global_batch_size());
        let tokens = all.saturating_mul(self.seq_len);
        let steps = match self.steps(steps_per_epoch) {
            0 => String::new(),
            steps => format!(", at most {steps} in all"),
        };
        format!(
            "steps: {rows} x {times} = {all} sequences, up to {tokens} tokens each; {steps_per_epoch:.1} an \
             epoch{steps}"
        )
    }

    /// Share of the run that is done, 0 to 1: the largest over all limits that are set.
    pub fn progress(&self, counters: &Counters, steps_per_epoch: f64) -> f64 {
        let share = |used: f64, limit: f64| if limit > 0.0 { used / limit } else { 0.0 };
        let step = counters.step as f64;
        share(step, self.max_steps as f64)
            .max(share(counters.tokens as f64, self.max_tokens as f64))
            .max(share(step, (self.max_epochs * steps_per_epoch).ceil()))
            .max(share(counters.elapsed_secs, self.max_minutes * 60.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_a_step_is_and_how_many_there_are() {
        let sizes = TrainConfig {
            micro_batch_size: 8,
            grad_accum_steps: 2,
            seq_len: 32,
            max_epochs: 1.5,
            max_steps: 100,
            ..TrainConfig::default()
        };
        let line = "steps: 8 x 2 = 16 sequences, up to 512 tokens each; 20.0 an epoch, at most 30 in all";
        assert_eq!(sizes.sizes(20.0), line);
        let minutes = TrainConfig { max_minutes: 1.0, ..TrainConfig::default() };
        assert!(minutes.sizes(20.0).ends_with("20.0 an epoch"), "{}", minutes.sizes(20.0));
    }

    #[test]
    fn a_warm_up_longer_than_the_run_is_told() {
        let ten = TrainConfig { max_steps: 10, ..TrainConfig::default() };
        let line = ten.endless_warmup(1000, 20.0).unwrap();
        assert!(line.starts_with("optim.warmup_steps is 1000, but the run ends after 10"), "{line}");
        assert_eq!((ten.endless_warmup(10, 20.0), ten.endless_warmup(0, 20.0)), (None, None));
        let minutes = TrainConfig { max_minutes: 1.0, ..TrainConfig::default() };
        assert_eq!(minutes.endless_warmup(1000, 20.0), None, "nobody knows how many steps it has");
    }
}
