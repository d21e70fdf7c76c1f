//! The steps since the program started: how long they take, and their figures as they are read.

use std::time::Instant;

use super::State;
use super::step::{Figures, StepReport};
use crate::error::Result;

/// Most steps whose figures are read together.
const MOST_UNREAD: usize = 100;

/// Time and figures of the steps since the program started or resumed.
pub(super) struct Pace {
    started: Instant,
    secs_before: f64,
    steps_before: u64,
    tokens_before: u64,
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

    /// Whether its figures are to be read even if nobody wants them.
    pub fn reads_now(&self, state: &State) -> bool {
        state.params.device().is_cpu() || self.unread.len() >= MOST_UNREAD
    }

    /// Reads the figures of all steps into the counters; those of the last one, where there was a step.
    ///
    /// Errors: as [`StepReport::read_all`].
    pub fn read(&mut self, state: &mut State) -> Result<Option<Figures>> {
        let figures = StepReport::read_all(&std::mem::take(&mut self.unread))?;
        for figures in &figures {
            state.counters.loss_since_eval.0 += figures.train_loss;
            state.counters.loss_since_eval.1 += 1;
        }
        self.clock(state);
        Ok(figures.last().copied())
    }

    pub fn tokens_per_sec(&self, state: &State) -> f64 {
        (state.counters.tokens - self.tokens_before) as f64 / self.started.elapsed().as_secs_f64()
    }

    fn clock(&self, state: &mut State) {
        state.counters.elapsed_secs = self.secs_before + self.started.elapsed().as_secs_f64();
    }
}
