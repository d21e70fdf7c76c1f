//! The steps since the program started: how long they take, and their figures as they are read.

use std::time::Instant;

use super::State;
use super::step::{Figures, StepReport};
use crate::error::Result;
use crate::optim::{Spike, SpikeLimits};

/// Most steps whose figures are read together.
const MOST_UNREAD: usize = 100;

/// What was read of the steps since the last reading.
#[derive(Default)]
pub(super) struct Reading {
    /// Of the last one, where there was a step.
    pub last: Option<Figures>,
    pub spikes: Vec<SpikeAt>,
}

/// A spike and where it was.
pub(super) struct SpikeAt {
    pub step: u64,
    pub figures: Figures,
    pub spike: Spike,
    /// Step of the newest checkpoint from before.
    pub sound_checkpoint: Option<u64>,
}

/// How many a second; 0 where the clock stood still, for that says nothing.
pub(crate) fn per_sec(count: u64, secs: f64) -> f64 {
    if secs > 0.0 { count as f64 / secs } else { 0.0 }
}

/// Time and figures of the steps since the program started or resumed.
pub(super) struct Pace {
    started: Instant,
    secs_before: f64,
    steps_before: u64,
    tokens_before: u64,
    saved: Instant,
    /// On a GPU reading waits for the step, so it is done when the figures are wanted.
    unread: Vec<StepReport>,
}

impl Pace {
    pub fn new(state: &State) -> Self {
        Self {
            started: Instant::now(),
            secs_before: state.counters.elapsed_secs,
            steps_before: state.counters.step,
            tokens_before: state.counters.tokens,
            saved: Instant::now(),
            unread: Vec::new(),
        }
    }

    /// Whether the last step was the first one.
    pub fn is_first_step(&self, state: &State) -> bool {
        state.counters.step == self.steps_before + 1
    }

    /// A step has been taken.
    pub fn add(&mut self, report: StepReport, state: &mut State) {
        self.unread.push(report);
        self.clock(state);
    }

    /// A checkpoint has been saved.
    pub fn save(&mut self) {
        self.saved = Instant::now();
    }

    /// Minutes since the last checkpoint, or since the start.
    pub fn unsaved_minutes(&self) -> f64 {
        self.saved.elapsed().as_secs_f64() / 60.0
    }

    /// Whether its figures are to be read even if nobody wants them.
    pub fn reads_now(&self, state: &State) -> bool {
        state.params.device().is_cpu() || self.unread.len() >= MOST_UNREAD
    }

    /// Reads the figures of all steps into the counters.
    ///
    /// Errors: as [`StepReport::read_all`].
    pub fn read(&mut self, state: &mut State, limits: SpikeLimits) -> Result<Reading> {
        let reports = std::mem::take(&mut self.unread);
        let mut reading = Reading::default();
        for (report, figures) in reports.iter().zip(StepReport::read_all(&reports)?) {
            state.counters.loss_since_eval.0 += figures.train_loss;
            state.counters.loss_since_eval.1 += 1;
            let sound_checkpoint = state.counters.watch.sound_checkpoint();
            if let Some(spike) = state.counters.watch.observe(figures.train_loss, figures.grad_norm, limits) {
                let step = report.number;
                reading.spikes.push(SpikeAt { step, figures, spike, sound_checkpoint });
            }
            reading.last = Some(figures);
        }
        self.clock(state);
        Ok(reading)
    }

    pub fn tokens_per_sec(&self, state: &State) -> f64 {
        per_sec(state.counters.tokens - self.tokens_before, self.started.elapsed().as_secs_f64())
    }

    fn clock(&self, state: &mut State) {
        state.counters.elapsed_secs = self.secs_before + self.started.elapsed().as_secs_f64();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_stands_still_gives_no_rate() {
        assert_eq!((per_sec(10, 4.0), per_sec(10, 0.0), per_sec(0, 0.0)), (2.5, 0.0, 0.0));
    }
}
