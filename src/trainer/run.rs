//! When to evaluate, save, log and stop. What a step is stands in `step`.

use std::time::Instant;

use serde_json::{Map, Value, json};

use super::config::TrainConfig;
use super::memory::out_of_memory;
use super::step::{Figures, StepReport, StepSettings, step};
use super::{Evaluation, State, Task};
use crate::checkpoint::Fingerprints;
use crate::error::{ErrorKind, Result};
use crate::optim::{OptimConfig, Schedule};
use crate::progress::{Bar, Progress};
use crate::run_dir::RunDir;
use crate::signals;

/// Most steps whose figures are read together.
const MOST_UNREAD: usize = 100;

/// A training run over a task, from wherever its state stands to the end of the budget.
pub struct Run<'a> {
    /// `pretrain` or `finetune`, in logs and bars.
    pub phase: &'a str,
    /// `[train]`.
    pub train: &'a TrainConfig,
    /// `[optim]`.
    pub optim: &'a OptimConfig,
    /// Rate of a classification head; the trunk's is in `[optim]`.
    pub head_learning_rate: f64,
    /// Share of the budget in which the head is trained alone.
    pub head_only_fraction: f64,
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

impl Run<'_> {
    /// Trains until the budget is used, early stopping says so, or a signal comes.
    ///
    /// Errors: as `step`, evaluation, log and checkpoint; out of memory (69), with what fits.
    pub fn train(&self, task: &mut dyn Task, state: &mut State) -> Result<Outcome> {
        let schedule = Schedule::new(self.optim);
        let (started, before) = (Instant::now(), state.counters.elapsed_secs);
        let (first_step, first_tokens) = (state.counters.step, state.counters.tokens);
        let bar = self.progress.bar(self.phase, 0);
        // Steps whose figures have not been read. On a GPU reading waits for the step, so it is done when the
        // figures are wanted.
        let mut unread = Vec::new();
        loop {
            let progress = self.train.progress(&state.counters, task.steps_per_epoch());
            let head_only = self.is_head_only(progress, state);
            if state.step_of_stage(head_only) == 0 {
                state.begin_stage();
            }
            if progress >= 1.0 || self.stops_early(state, head_only) {
                return Ok(Outcome::Finished);
            }
            if let Some(signal) = signals::pending() {
                read(&mut unread, state)?;
                self.save(state)?;
                return Ok(Outcome::Interrupted(signal));
            }

            let rate = schedule.learning_rate(state.step_of_stage(head_only), progress);
            let settings = self.settings(rate, head_only);
            match step(task, state, &settings) {
                Err(error) if error.kind == ErrorKind::Device => {
                    let (number, device) = (state.counters.step, state.params.device());
                    return Err(out_of_memory(task, number, self.train, &settings, &device)?);
                }
                report => unread.push(report?),
            }
            state.counters.elapsed_secs = before + started.elapsed().as_secs_f64();
            let steps = state.counters.step;
            let ended = self.train.progress(&state.counters, task.steps_per_epoch()) >= 1.0;
            let logs = steps.is_multiple_of(self.train.log_interval) || steps == first_step + 1;
            let evaluates = ended || self.evaluation_due(steps, task.steps_per_epoch());
            let saves = ended || is_due(steps, self.train.save_interval);
            let wanted = logs || evaluates || saves || unread.len() >= MOST_UNREAD;
            if !wanted && !state.params.device().is_cpu() {
                continue;
            }

            let Some(figures) = read(&mut unread, state)? else { continue };
            state.counters.elapsed_secs = before + started.elapsed().as_secs_f64();
            let tokens_per_sec =
                (state.counters.tokens - first_tokens) as f64 / started.elapsed().as_secs_f64();
            self.show(&bar, state, &figures, task.steps_per_epoch(), tokens_per_sec);
            if logs {
                self.log_step(state, &figures, &settings, tokens_per_sec)?;
            }
            if evaluates {
                self.evaluate(task, state)?;
            }
            if saves || self.stops_early(state, head_only) {
                self.save(state)?;
            }
        }
    }

    fn settings(&self, learning_rate: f64, head_only: bool) -> StepSettings {
        let head_ratio = self.head_learning_rate / self.optim.learning_rate.max(f64::MIN_POSITIVE);
        StepSettings {
            seed: self.seed,
            dropout: self.train.dropout,
            learning_rate,
            head_learning_rate: learning_rate * head_ratio,
            head_only,
            max_grad_norm: self.optim.max_grad_norm,
        }
    }

    /// Whether the head is still trained alone; a larger budget does not lead back to that stage.
    fn is_head_only(&self, progress: f64, state: &State) -> bool {
        progress < self.head_only_fraction && state.step_of_stage(false) == 0
    }

    fn stops_early(&self, state: &State, head_only: bool) -> bool {
        let patience = self.train.early_stopping_patience;
        !head_only && patience > 0 && state.counters.evals_since_best >= patience
    }

    /// An interval of 0 means once per epoch for tasks of a few steps per epoch; see `[train]`.
    fn evaluation_due(&self, steps: u64, steps_per_epoch: f64) -> bool {
        match self.train.eval_interval {
            0 if self.phase == "finetune" => is_due(steps, steps_per_epoch.ceil() as u64),
            interval => is_due(steps, interval),
        }
    }

    fn evaluate(&self, task: &dyn Task, state: &mut State) -> Result<()> {
        let Evaluation { loss, score, fields } = task.evaluate(self.progress)?;
        let (sum, count) = std::mem::take(&mut state.counters.loss_since_eval);
        let train_loss = if count == 0 { f64::NAN } else { sum / count as f64 };
        state.judge(score)?;
        if train_loss.is_finite() {
            state.counters.history.push((train_loss, loss));
        }
        let mut event = self.event(state);
        if train_loss.is_finite() {
            event.insert("train_loss_since_eval".into(), json!(train_loss));
        }
        event.insert("val_loss".into(), json!(loss));
        event.extend(fields);
        self.progress.detail(format!("{}: {}", self.phase, Value::Object(event.clone())));
        self.dir.log(&event)
    }

    fn save(&self, state: &State) -> Result<()> {
        let checkpoint = state.checkpoint(self.fingerprints);
        checkpoint.save(&self.dir.checkpoints(), self.train.keep_checkpoints)?;
        Ok(())
    }

    fn event(&self, state: &State) -> Map<String, Value> {
        let mut event = Map::new();
        event.insert("phase".into(), json!(self.phase));
        event.insert("step".into(), json!(state.counters.step));
        event.insert("tokens".into(), json!(state.counters.tokens));
        event.insert("elapsed_secs".into(), json!(state.counters.elapsed_secs));
        event
    }

    fn log_step(
        &self,
        state: &State,
        figures: &Figures,
        settings: &StepSettings,
        tokens_per_sec: f64,
    ) -> Result<()> {
        let rate = if settings.head_only { settings.head_learning_rate } else { settings.learning_rate };
        let mut event = self.event(state);
        event.insert("train_loss".into(), json!(figures.train_loss));
        event.insert("learning_rate".into(), json!(rate));
        event.insert("grad_norm".into(), json!(figures.grad_norm));
        event.insert("tokens_per_sec".into(), json!(tokens_per_sec));
        self.dir.log(&event)
    }

    fn show(&self, bar: &Bar<'_>, state: &State, figures: &Figures, per_epoch: f64, tokens_per_sec: f64) {
        let done = state.counters.step;
        let share = self.train.progress(&state.counters, per_epoch).clamp(f64::MIN_POSITIVE, 1.0);
        bar.set_total((done as f64 / share).round() as u64);
        bar.advance_to(done, || format!("loss {:.3} {tokens_per_sec:.0} tokens/s", figures.train_loss));
    }
}

fn is_due(steps: u64, interval: u64) -> bool {
    interval > 0 && steps.is_multiple_of(interval)
}

/// Reads the figures of these steps into the counters; those of the last one.
fn read(unread: &mut Vec<StepReport>, state: &mut State) -> Result<Option<Figures>> {
    let figures = StepReport::read_all(&std::mem::take(unread))?;
    for figures in &figures {
        state.counters.loss_since_eval.0 += figures.train_loss;
        state.counters.loss_since_eval.1 += 1;
    }
    Ok(figures.last().copied())
}
