//! What follows a loss spike: a warning and an event, and a return to a checkpoint where that is asked for.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::OnSpike;
use super::pace::{Pace, SpikeAt};
use super::run::Run;
use super::{State, Task};
use crate::checkpoint::{self, Checkpoint};
use crate::error::{Error, ErrorKind, Result};

/// Returns to a checkpoint in one run; a run that needs more does not learn.
const MOST_RETURNS: u64 = 10;

impl Run<'_> {
    /// Tells of the spikes, once each, and returns to the checkpoint before the first where that is asked for; whether it
    /// did.
    ///
    /// Errors: a run that returns again and again (76); as the log and the checkpoint.
    pub(super) fn after_spikes(
        &self,
        spikes: &[SpikeAt],
        task: &mut dyn Task,
        state: &mut State,
        pace: &mut Pace,
    ) -> Result<bool> {
        for at in spikes.iter().filter(|at| at.spike.begins) {
            let back = at
                .sound_checkpoint
                .filter(|step| self.train.on_spike == OnSpike::GoBack && self.checkpoint(*step).is_dir());
            self.tell(at, back, state)?;
            if let Some(back) = back {
                self.go_back(at, back, task, state, pace)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn tell(&self, at: &SpikeAt, back: Option<u64>, state: &State) -> Result<()> {
        let SpikeAt { step, figures, spike, .. } = at;
        let what = format!(
            "loss spike at step {step}: loss {:.3} and gradient norm {:.3}, {:.1} and {:.1} deviations above the steps \
             before",
            figures.train_loss, figures.grad_norm, spike.loss_z, spike.grad_norm_z
        );
        let then = match (self.train.on_spike, back) {
            (OnSpike::Warn, _) => String::new(),
            (OnSpike::Skip, _) => "; this step updates nothing".into(),
            (OnSpike::GoBack, Some(back)) => format!("; going back to step {back}"),
            (OnSpike::GoBack, None) => "; there is no checkpoint from before to go back to".into(),
        };
        self.progress.warn(what + &then);
        if let Some(back) = back {
            // What is logged from here on comes after that checkpoint.
            self.dir.rewind_log(back, |_| None::<()>)?;
        }
        let mut event = self.event(state);
        event.insert("step".into(), json!(back.unwrap_or(*step)));
        event.insert("spike_step".into(), json!(step));
        event.insert("spike_loss".into(), json!(figures.train_loss));
        event.insert("spike_grad_norm".into(), json!(figures.grad_norm));
        event.insert("spike_loss_z".into(), json!(spike.loss_z));
        event.insert("spike_grad_norm_z".into(), json!(spike.grad_norm_z));
        event.insert("on_spike".into(), json!(self.train.on_spike));
        self.dir.log(&event)
    }

    fn go_back(
        &self,
        at: &SpikeAt,
        back: u64,
        task: &mut dyn Task,
        state: &mut State,
        pace: &mut Pace,
    ) -> Result<()> {
        let (returns, secs) = (state.counters.returns + 1, state.counters.elapsed_secs);
        // The batches up to the one of the spike are not met again.
        let left_out = state.counters.steps_left_out + at.step - back;
        if returns > MOST_RETURNS {
            let hint = "lower optim.learning_rate or raise optim.warmup_steps";
            let why = format!(
                "the loss spiked again after {MOST_RETURNS} returns to a checkpoint, at step {}",
                at.step
            );
            return Err(Error::new(ErrorKind::Diverged, format!("training diverged: {why}; {hint}")));
        }
        for path in self.later_checkpoints(&self.checkpoint(back))? {
            checkpoint::remove(&path)?;
        }
        state.restore(Checkpoint::load(&self.checkpoint(back))?)?;
        state.counters.watch.confirm(back);
        let counters = &mut state.counters;
        (counters.steps_left_out, counters.returns, counters.elapsed_secs) = (left_out, returns, secs);
        state.history = self.rewind_log(back, task.steps_per_epoch())?;
        task.begin_stage(state.stage(), &state.params)?;
        *pace = Pace::new(state);
        Ok(())
    }

    /// The error of a run that diverged, with the checkpoint to go on from.
    pub(super) fn advised(&self, error: Error, state: &State) -> Error {
        if error.kind != ErrorKind::Diverged {
            return error;
        }
        let sound = state.counters.watch.sound_checkpoint().map(|step| self.checkpoint(step));
        let advice = match sound.filter(|sound| sound.is_dir()) {
            Some(sound) => {
                let later = self.later_checkpoints(&sound).unwrap_or_default();
                let later: Vec<String> = later.iter().map(|path| path.display().to_string()).collect();
                let first = match &later[..] {
                    [] => String::new(),
                    later => format!("remove {}, then ", later.join(" and ")),
                };
                format!(
                    "{} is from before the loss rose: {first}go on from it with --resume",
                    sound.display()
                )
            }
            None => "no checkpoint is from before the loss rose: start again with --overwrite".into(),
        };
        Error::new(error.kind, format!("{error}; {advice}"))
    }

    fn checkpoint(&self, step: u64) -> PathBuf {
        checkpoint::folder_of(&self.dir.checkpoints(), step)
    }

    /// Those after the one in `folder`.
    fn later_checkpoints(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let all = checkpoint::list(&self.dir.checkpoints())?;
        Ok(all.into_iter().skip_while(|path| path != folder).skip(1).collect())
    }
}
