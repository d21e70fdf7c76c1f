//! Everything that changes during a run.

use std::collections::BTreeSet;

use crate::checkpoint::{Best, Checkpoint, Counters, Fingerprints};
use crate::error::Result;
use crate::model::{Params, Weights};
use crate::optim::{AdamW, OptimConfig};
use crate::tensor_file;

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
    /// The trained parameters at the best evaluation so far.
    pub best: Option<Weights>,
}

impl State {
    /// A run that has not begun.
    pub fn new(params: Params, trainable: BTreeSet<String>, optim: &OptimConfig) -> Self {
        let optimizer = AdamW::new(optim);
        Self { params, trainable, optimizer, counters: Counters::default(), best: None }
    }

    /// Updates so far of the stage that trains the head alone, or of the one that trains all.
    pub fn step_of_stage(&self, head_only: bool) -> u64 {
        self.counters.step - if head_only { 0 } else { self.counters.head_only_steps }
    }

    /// The optimizer begins anew, and early stopping counts anew.
    pub fn begin_stage(&mut self) {
        self.optimizer.restart();
        self.counters.evals_since_best = 0;
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

    /// The parameters that are trained; they follow later updates.
    fn trained(&self) -> Weights {
        let all = self.params.detached().into_iter();
        all.filter(|(name, _)| self.trainable.contains(name)).collect()
    }

    /// Number of scalars that are trained.
    pub fn trainable_count(&self) -> usize {
        self.trained().values().map(|tensor| tensor.elem_count()).sum()
    }

    /// SHA-256 over the parameters that are not trained; empty where all are.
    pub fn frozen_sha256(&self) -> Result<String> {
        let all = self.params.detached().into_iter();
        let frozen: Weights = all.filter(|(name, _)| !self.trainable.contains(name)).collect();
        if frozen.is_empty() { Ok(String::new()) } else { tensor_file::sha256(&frozen) }
    }

    /// A checkpoint of this moment.
    pub fn checkpoint(&self, fingerprints: &Fingerprints) -> Checkpoint {
        Checkpoint {
            counters: self.counters.clone(),
            fingerprints: fingerprints.clone(),
            model: self.trained(),
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
            self.best = Some(self.params.snapshot(|name| self.trainable.contains(name))?);
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
