//! Everything that changes during a run.

use crate::checkpoint::{Best, Checkpoint, Counters, Fingerprints};
use crate::error::{Error, Result};
use crate::metrics::learning::LearningPoint;
use crate::model::{ParamSpec, Params, Weights};
use crate::optim::{OptimConfig, Optimizer, Stage};
use crate::tensor_file;

/// Parameters, optimizer and counters of a run.
pub struct State {
    /// All parameters.
    pub params: Params,
    /// Moments.
    pub optimizer: Optimizer,
    /// Where the run stands.
    pub counters: Counters,
    /// The trained parameters at the best evaluation so far.
    pub best: Option<Weights>,
    pub(super) stages: Vec<Stage>,
    pub(super) history: Vec<LearningPoint>,
}

impl State {
    /// A run that has not begun; it has at least one stage.
    pub fn new(params: Params, stages: Vec<Stage>, optim: &OptimConfig) -> Self {
        let optimizer = Optimizer::new(optim);
        Self { params, optimizer, counters: Counters::default(), best: None, stages, history: Vec::new() }
    }

    /// A run in one stage that trains all parameters.
    pub fn of_all(params: Params, specs: &[ParamSpec], optim: &OptimConfig) -> Self {
        Self::new(params, vec![Stage::of_all(specs, optim)], optim)
    }

    /// The stage it stands in.
    pub fn stage(&self) -> &Stage {
        &self.stages[self.counters.stage]
    }

    /// The stage it ends in.
    pub(super) fn last_stage(&self) -> &Stage {
        &self.stages[self.stages.len() - 1]
    }

    /// Goes on to the stage that `progress`, a share of the run, lies in, with fresh moments and a fresh count for
    /// early stopping; returns whether that is another. A higher limit does not lead back to an earlier stage.
    pub fn enter_stage(&mut self, progress: f64) -> bool {
        let last = self.stages.len() - 1;
        let stage = self.stages.iter().position(|stage| progress < stage.until).unwrap_or(last);
        let enters = stage > self.counters.stage;
        if enters {
            self.optimizer.restart();
            self.counters.evals_since_best = 0;
            (self.counters.stage, self.counters.stage_start) = (stage, self.counters.step);
            self.counters.skipped_updates = 0;
        }
        enters
    }

    /// Whether it stands in its last stage.
    pub fn in_last_stage(&self) -> bool {
        self.counters.stage + 1 == self.stages.len()
    }

    /// The evaluations so far, oldest first.
    pub fn history(&self) -> &[LearningPoint] {
        &self.history
    }

    /// Takes everything from a checkpoint.
    ///
    /// Errors: it stands in a stage that this run does not have (65).
    pub(crate) fn restore(&mut self, checkpoint: Checkpoint) -> Result<()> {
        let counters = checkpoint.counters;
        if counters.stage >= self.stages.len() {
            let (stage, stages) = (counters.stage + 1, self.stages.len());
            return Err(Error::data(format!("the checkpoint is in stage {stage}, this run has {stages}")));
        }
        self.params.assign(&checkpoint.model)?;
        let device = self.params.device();
        let moved = |weights: Weights| -> candle_core::Result<Weights> {
            weights.into_iter().map(|(name, tensor)| Ok((name, tensor.to_device(&device)?))).collect()
        };
        let updates = counters.step - counters.stage_start - counters.skipped_updates;
        self.optimizer.restore(&moved(checkpoint.optimizer)?, updates)?;
        self.best = checkpoint.best.map(moved).transpose()?;
        self.counters = counters;
        Ok(())
    }

    /// Whether a stage trains the parameter called `name`.
    fn trains(&self, name: &str) -> bool {
        self.stages.iter().any(|stage| stage.trains(name))
    }

    /// The parameters that are trained; they follow later updates.
    fn trained(&self) -> Weights {
        let all = self.params.detached().into_iter();
        all.filter(|(name, _)| self.trains(name)).collect()
    }

    /// Number of scalars that are trained.
    pub fn trainable_count(&self) -> usize {
        self.trained().values().map(|tensor| tensor.elem_count()).sum()
    }

    /// SHA-256 over the parameters that are not trained; empty where all are.
    pub fn frozen_sha256(&self) -> Result<String> {
        let all = self.params.detached().into_iter();
        let frozen: Weights = all.filter(|(name, _)| !self.trains(name)).collect();
        if frozen.is_empty() { Ok(String::new()) } else { tensor_file::sha256(&frozen) }
    }

    /// A checkpoint of this moment.
    pub(crate) fn checkpoint(&self, fingerprints: &Fingerprints) -> Checkpoint {
        Checkpoint {
            counters: self.counters.clone(),
            fingerprints: fingerprints.clone(),
            model: self.trained(),
            optimizer: self.optimizer.moments().clone(),
            best: self.best.clone(),
        }
    }

    /// Remembers an evaluation.
    pub(super) fn record(&mut self, point: LearningPoint) {
        self.counters.history.push((point.train_loss, point.val_loss));
        self.history.push(point);
    }

    /// Keeps the weights when `score` is the best so far.
    pub fn judge(&mut self, score: f64) -> Result<()> {
        let better = self.counters.best.as_ref().is_none_or(|best| score > best.score);
        if better {
            self.counters.best = Some(Best { step: self.counters.step, score });
            self.counters.evals_since_best = 0;
            self.best = Some(self.params.snapshot(|name| self.trains(name))?);
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

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::model::{Init, Place};
    use crate::optim::ParamGroup;

    #[test]
    fn stages_follow_the_limits_and_none_is_gone_back_to() {
        let specs = ["a", "b", "c"].map(|name| ParamSpec::new(Place::Block(0), name, &[2], Init::Ones));
        let params = Params::init(&specs, 1, &Device::Cpu).unwrap();
        let optim = OptimConfig::default();
        let stage = |until: f64, names: &[&str]| Stage {
            until,
            groups: ParamGroup::by_kind_and_decay(&specs, &optim, 1.0, |spec| names.contains(&&*spec.name))
                .into(),
        };
        let stages = vec![stage(0.2, &["a"]), stage(0.5, &["a", "b"]), stage(1.0, &["a", "b"])];
        let mut state = State::new(params, stages, &optim);
        assert_eq!(state.trainable_count(), 4);
        let mut standing = Vec::new();
        for (step, progress) in [0.0, 0.1, 0.2, 0.15, 0.5, 0.3, 1.0].into_iter().enumerate() {
            (state.counters.step, state.counters.evals_since_best) = (step as u64, 3);
            let enters = state.enter_stage(progress);
            assert_eq!(state.counters.evals_since_best, if enters { 0 } else { 3 });
            standing.push((state.counters.stage, state.counters.stage_start));
        }
        assert_eq!(standing, [(0, 0), (0, 0), (1, 2), (1, 2), (2, 4), (2, 4), (2, 4)]);
        assert!(state.in_last_stage() && !state.stage().trains("c"));
    }
}
