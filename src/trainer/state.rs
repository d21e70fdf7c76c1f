//! Everything that changes during a run.

use std::collections::BTreeSet;

use crate::checkpoint::{Best, Checkpoint, Counters, Fingerprints};
use crate::error::Result;
use crate::model::{Params, Weights};
use crate::optim::{AdamW, OptimConfig};

/// Parameters, optimizer and counters of a run.
pub struct State {
    /// All parameters.
    pub params: Params,
    /// Names of those that are trained.
    pub trainable: BTreeSet<String>,
    /// Moments.
    pub optimizer: AdamW,
    /// Where the run stands.
    pub counters: Counters,
    /// Weights of the best evaluation so far.
    pub best: Option<Weights>,
}

impl State {
    /// A run that has not begun.
    pub fn new(params: Params, trainable: BTreeSet<String>, optim: &OptimConfig) -> Self {
        let optimizer = AdamW::new(optim);
        Self { params, trainable, optimizer, counters: Counters::default(), best: None }
    }

    /// Takes everything from a checkpoint.
    pub fn restore(&mut self, checkpoint: Checkpoint) -> Result<()> {
        self.params.assign(&checkpoint.model)?;
        let device = self.params.device();
        let moved = |weights: Weights| -> candle_core::Result<Weights> {
            weights.into_iter().map(|(name, tensor)| Ok((name, tensor.to_device(&device)?))).collect()
        };
        self.optimizer.restore(&moved(checkpoint.optimizer)?)?;
        self.best = checkpoint.best.map(moved).transpose()?;
        self.counters = checkpoint.counters;
        Ok(())
    }

    /// A checkpoint of this moment.
    pub fn checkpoint(&self, fingerprints: &Fingerprints) -> Checkpoint {
        Checkpoint {
            counters: self.counters.clone(),
            fingerprints: fingerprints.clone(),
            model: self.params.detached(),
            optimizer: self.optimizer.moments().clone(),
            best: self.best.clone(),
        }
    }

    /// Keeps the weights when `score` is the best so far.
    pub fn judge(&mut self, score: f64) -> Result<()> {
        let better = self.counters.best.as_ref().is_none_or(|best| score > best.score);
        if better {
            self.counters.best = Some(Best { step: self.counters.step, score });
            self.counters.evals_since_best = 0;
            self.best = Some(self.params.snapshot()?);
        } else {
            self.counters.evals_since_best += 1;
        }
        Ok(())
    }

    /// Puts the weights of the best evaluation back.
    pub fn restore_best(&mut self) -> Result<()> {
        if let Some(best) = &self.best {
            self.params.assign(best)?;
        }
        Ok(())
    }
}
