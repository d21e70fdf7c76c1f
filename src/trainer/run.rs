//! When to evaluate, save, log and stop. What a step is stands in `step`.

use serde_json::{Map, Value, json};

use super::config::TrainConfig;
use super::memory::out_of_memory;
use super::pace::Pace;
use super::step::{Figures, StepReport, StepSettings, step};
use super::{Evaluation, OnSpike, State, Task};
use crate::checkpoint::Fingerprints;
use crate::data::Batch;
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::learning::LearningPoint;
use crate::model::Dropout;
use crate::optim::{OptimConfig, Schedule, SpikeLimits};
use crate::progress::{Bar, Progress};
use crate::run_dir::{DAMAGED_LINES, RunDir};
use crate::signals;

/// A training run over a task, from wherever its state stands to its limit.
pub struct Run<'a> {
    /// `pretrain` or `finetune`, in logs and bars.
    pub phase: &'a str,
    /// `[train]`.
    pub train: &'a TrainConfig,
    /// `[optim]`.
    pub optim: &'a OptimConfig,
    /// Seed of dropout.
    pub seed: u64,
    /// Where events and checkpoints go.
    pub dir: &'a RunDir,
    /// Written into each checkpoint.
    pub fingerprints: &'a Fingerprints,
    /// Bars and notes.
    pub progress: &'a Progress,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Budget used or stopped early.
    Finished,
    /// This signal came; a checkpoint is saved.
    Interrupted(i32),
}

/// What follows a step.
struct Due {
    log: bool,
    evaluation: bool,
    checkpoint: bool,
}

impl Run<'_> {
    /// Trains until a limit is reached, early stopping says so, or a signal comes.
    ///
    /// Errors: as `step`, evaluation, log and checkpoint; out of memory (69), with what fits; diverged (76), with the
    /// checkpoint to go on from.
    pub fn train(&self, task: &mut dyn Task, state: &mut State) -> Result<Outcome> {
        let _training = signals::Training::begin();
        self.to_the_end(task, state).map_err(|error| self.advised(error, state))
    }

    fn to_the_end(&self, task: &mut dyn Task, state: &mut State) -> Result<Outcome> {
        let schedule = Schedule::new(self.optim);
        let steps_per_epoch = task.steps_per_epoch();
        state.history = self.rewind_log(state.counters.step, steps_per_epoch)?;
        self.progress.note(self.train.sizes(steps_per_epoch));
        if let Some(warning) = self.train.endless_warmup(self.optim.warmup_steps, steps_per_epoch) {
            self.progress.warn(warning);
        }
        self.tell_early_stop(state);
        let bar = self.progress.bar(self.phase, 0);
        let mut pace = Pace::new(state);
        if state.counters.evaluation_due {
            // One that a signal cut short is made up for, in the checkpoint too.
            if let Some(outcome) = self.evaluate_if_due(task, state, &mut pace)? {
                return Ok(outcome);
            }
            self.save(state, &mut pace)?;
        }
        loop {
            let progress = self.train.progress(&state.counters, steps_per_epoch);
            if state.enter_stage(progress) {
                task.begin_stage(state.stage(), &state.params)?;
            }
            if progress >= 1.0 || self.stops_early(state) {
                return Ok(Outcome::Finished);
            }
            if let Some(signal) = signals::pending() {
                pace.read(state, self.train.spike_limits())?;
                self.save(state, &mut pace)?;
                return Ok(Outcome::Interrupted(signal));
            }

            // A training step.
            let learning_rate = schedule.learning_rate(state.optimizer.updates(), progress);
            let report = self.step(task, state, learning_rate)?;
            pace.add(report, state);

            // Once in a while what follows it.
            let due = self.due(task, state, &pace);
            let reads_each = self.train.on_spike == OnSpike::GoBack;
            if due.log || due.evaluation || due.checkpoint || reads_each || pace.reads_now(state) {
                let reading = pace.read(state, self.train.spike_limits())?;
                self.show(&bar, state, reading.last, steps_per_epoch, &pace);
                if let Some(figures) = reading.last.filter(|_| due.log) {
                    self.log_step(state, &figures, learning_rate, &pace)?;
                }
                if self.after_spikes(&reading.spikes, task, state, &mut pace)? {
                    continue;
                }
                state.counters.evaluation_due = due.evaluation;
                if let Some(outcome) = self.evaluate_if_due(task, state, &mut pace)? {
                    return Ok(outcome);
                }
                if due.checkpoint || self.stops_early(state) {
                    self.save(state, &mut pace)?;
                }
            }
        }
    }

    /// Drops what was logged after `step`; the evaluations that are left.
    pub(super) fn rewind_log(&self, step: u64, steps_per_epoch: f64) -> Result<Vec<LearningPoint>> {
        let point = |event: &Map<String, Value>| {
            let number = |key: &str| event.get(key)?.as_f64();
            let step = event.get("step")?.as_u64()?;
            let (train_loss, val_loss) = (number("train_loss_since_eval")?, number("val_loss")?);
            Some(LearningPoint { step, epoch: step as f64 / steps_per_epoch, train_loss, val_loss })
        };
        let (points, damaged) = self.dir.rewind_log(step, point)?;
        if damaged > 0 {
            let what = format!("{damaged} damaged lines of metrics.jsonl are left out");
            self.progress.warn(format!("{what}; they are kept in {DAMAGED_LINES} beside it"));
        }
        Ok(points)
    }

    /// Says why a resumed run ends at once although a limit is higher.
    fn tell_early_stop(&self, state: &State) {
        if state.counters.step > 0 && self.stops_early(state) {
            let (step, patience) = (state.counters.step, self.train.early_stopping_patience);
            let why = format!("it stopped early at step {step}: train.early_stopping_patience is {patience}");
            self.progress.warn(format!("{why}; a higher one lets it go on"));
        }
    }

    fn step(&self, task: &mut dyn Task, state: &mut State, learning_rate: f64) -> Result<StepReport> {
        let number = state.counters.step;
        let batches = task.batches(number + state.counters.steps_left_out)?;
        let count = batches.iter().map(|batch| task.count(batch)).sum();
        let settings = StepSettings {
            seed: self.seed,
            dropout: self.train.dropout,
            learning_rate,
            max_grad_norm: self.optim.max_grad_norm,
            skip_spikes: match self.train.on_spike {
                OnSpike::Skip => self.train.spike_limits(),
                OnSpike::Warn | OnSpike::GoBack => SpikeLimits::default(),
            },
        };
        let taken =
            step(state, &batches, count, &settings, |batch, scale, dropout| task.loss(batch, scale, dropout));
        match taken {
            Err(error) if error.kind == ErrorKind::Device => {
                // What fits has to fit to the end.
                task.begin_stage(state.last_stage(), &state.params)?;
                let loss = |batch: &Batch, scale, dropout: &mut Dropout| task.loss(batch, scale, dropout);
                Err(out_of_memory(&batches, number, self.train, &settings, &state.params.device(), loss)?)
            }
            taken => taken,
        }
    }

    fn due(&self, task: &dyn Task, state: &State, pace: &Pace) -> Due {
        let steps = state.counters.step;
        let ended = self.train.progress(&state.counters, task.steps_per_epoch()) >= 1.0;
        let every = |interval: u64| ended || (interval > 0 && steps.is_multiple_of(interval));
        let eval_interval = match self.train.eval_interval {
            0 => task.default_eval_interval(),
            interval => interval,
        };
        Due {
            log: steps.is_multiple_of(self.train.log_interval) || pace.is_first_step(state),
            evaluation: every(eval_interval),
            checkpoint: every(self.train.save_interval) || self.saves_by_the_clock(pace),
        }
    }

    fn saves_by_the_clock(&self, pace: &Pace) -> bool {
        let minutes = self.train.save_minutes;
        minutes > 0.0 && pace.unsaved_minutes() >= minutes
    }

    fn stops_early(&self, state: &State) -> bool {
        let patience = self.train.early_stopping_patience;
        state.in_last_stage() && patience > 0 && state.counters.evals_since_best >= patience
    }

    /// Evaluates where that is due; where a signal cuts it short it stays due in a checkpoint, and the run has ended.
    fn evaluate_if_due(
        &self,
        task: &dyn Task,
        state: &mut State,
        pace: &mut Pace,
    ) -> Result<Option<Outcome>> {
        if !state.counters.evaluation_due {
            return Ok(None);
        }
        match task.evaluate(self.progress) {
            Ok(evaluation) => {
                state.counters.evaluation_due = false;
                self.evaluated(evaluation, task, state)?;
                Ok(None)
            }
            Err(Error { kind: ErrorKind::Interrupted(signal), .. }) => {
                self.save(state, pace)?;
                Ok(Some(Outcome::Interrupted(signal)))
            }
            Err(error) if error.kind == ErrorKind::Diverged => {
                let what = format!("step {}: answers on validation that are not finite", state.counters.step);
                let hint = "lower optim.learning_rate or raise optim.warmup_steps";
                Err(Error::new(ErrorKind::Diverged, format!("training diverged at {what}; {hint}")))
            }
            Err(error) => Err(error),
        }
    }

    fn evaluated(&self, evaluation: Evaluation, task: &dyn Task, state: &mut State) -> Result<()> {
        let Evaluation { loss, score, fields } = evaluation;
        let (sum, count) = std::mem::take(&mut state.counters.loss_since_eval);
        state.judge(score)?;
        let mut event = self.event(state);
        if count > 0 {
            let (step, train_loss) = (state.counters.step, sum / count as f64);
            let epoch = step as f64 / task.steps_per_epoch();
            state.record(LearningPoint { step, epoch, train_loss, val_loss: loss });
            event.insert("train_loss_since_eval".into(), json!(train_loss));
        }
        event.insert("val_loss".into(), json!(loss));
        event.extend(fields);
        self.progress.detail(format!("{}: {}", self.phase, Value::Object(event.clone())));
        self.dir.log(&event)
    }

    fn save(&self, state: &mut State, pace: &mut Pace) -> Result<()> {
        state.counters.watch.checkpoint(state.counters.step);
        pace.save();
        let checkpoint = state.checkpoint(self.fingerprints);
        self.dir.sync_log()?;
        checkpoint.save(&self.dir.checkpoints(), self.train.keep_checkpoints)?;
        Ok(())
    }

    pub(super) fn event(&self, state: &State) -> Map<String, Value> {
        let mut event = Map::new();
        event.insert("phase".into(), json!(self.phase));
        event.insert("step".into(), json!(state.counters.step));
        event.insert("tokens".into(), json!(state.counters.tokens));
        event.insert("elapsed_secs".into(), json!(state.counters.elapsed_secs));
        event
    }

    fn log_step(&self, state: &State, figures: &Figures, learning_rate: f64, pace: &Pace) -> Result<()> {
        let scale = state.stage().groups.first().map_or(1.0, |group| group.learning_rate_scale);
        let mut event = self.event(state);
        event.insert("train_loss".into(), json!(figures.train_loss));
        event.insert("learning_rate".into(), json!(learning_rate * scale));
        event.insert("grad_norm".into(), json!(figures.grad_norm));
        event.insert("tokens_per_sec".into(), json!(pace.tokens_per_sec(state)));
        self.dir.log(&event)
    }

    fn show(&self, bar: &Bar, state: &State, figures: Option<Figures>, per_epoch: f64, pace: &Pace) {
        let done = state.counters.step;
        let share = self.train.progress(&state.counters, per_epoch).clamp(f64::MIN_POSITIVE, 1.0);
        let (loss, rate) = (figures.map_or(f64::NAN, |f| f.train_loss), pace.tokens_per_sec(state));
        bar.set_total((done as f64 / share).round() as u64);
        bar.advance_to(done, || format!("loss {loss:.3} {rate:.0} tokens/s"));
    }
}
