//! Watches the losses of a run: sudden spikes, and which checkpoint is from before a rise.
//!
//! A spike is a loss, or a gradient norm, that lies far above the steps before it, in standard deviations of these.
//! Source: the outlier detector of llm.c (`llmc/outlier_detector.h`), with its window of 128 steps; unlike there only
//! what lies above counts, and a deviation has a least size, without which every wave of a flat curve would be a spike.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Steps that a new one is compared with; before there are as many nothing is a spike.
const WINDOW: usize = 128;
/// Least standard deviation of losses, in nats; ours.
const LEAST_LOSS_DEVIATION: f64 = 0.1;
/// Least standard deviation of gradient norms, as a share of their mean; ours.
const LEAST_NORM_DEVIATION: f64 = 0.1;
/// A loss has risen where it lies above the lowest by this many nats, and by this share of it; ours.
const RISE_NATS: f64 = 0.5;
const RISE_SHARE: f64 = 0.2;
/// Steps after a checkpoint by whose lowest loss it is judged; ours.
const SETTLING_STEPS: u32 = 8;

/// What counts as a spike, in standard deviations above the mean of the steps before; 0 never does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SpikeLimits {
    /// Of the loss.
    pub loss_z: f64,
    /// Of the gradient norm.
    pub grad_norm_z: f64,
}

/// A step far above those before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spike {
    /// How far its loss lies above their mean, in standard deviations.
    pub loss_z: f64,
    /// The same of its gradient norm.
    pub grad_norm_z: f64,
    /// Whether the step before was none.
    pub begins: bool,
}

/// Losses and gradient norms of the newest steps, and what they say of the checkpoints; part of each checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LossWatch {
    losses: VecDeque<f64>,
    grad_norms: VecDeque<f64>,
    in_spike: bool,
    lowest: Option<f64>,
    /// Step of the newest checkpoint.
    newest: Option<u64>,
    /// Lowest loss of the first steps after it, and how many these are.
    after_newest: (Option<f64>, u32),
    /// Step of the newest checkpoint before it whose losses had not risen.
    sound: Option<u64>,
}

impl LossWatch {
    /// Whether a step with these figures would be a spike.
    pub fn spike(&self, loss: f64, grad_norm: f64, limits: SpikeLimits) -> Option<Spike> {
        let loss_z = z_score(&self.losses, loss, |_| LEAST_LOSS_DEVIATION);
        let grad_norm_z = z_score(&self.grad_norms, grad_norm, |mean| LEAST_NORM_DEVIATION * mean.abs());
        let above = |z: f64, limit: f64| limit > 0.0 && z > limit;
        let is_spike = above(loss_z, limits.loss_z) || above(grad_norm_z, limits.grad_norm_z);
        is_spike.then_some(Spike { loss_z, grad_norm_z, begins: !self.in_spike })
    }

    /// Takes the figures of a step; the spike that it is, if any.
    pub fn observe(&mut self, loss: f64, grad_norm: f64, limits: SpikeLimits) -> Option<Spike> {
        let spike = self.spike(loss, grad_norm, limits);
        self.in_spike = spike.is_some();
        for (window, value) in [(&mut self.losses, loss), (&mut self.grad_norms, grad_norm)] {
            if window.len() == WINDOW {
                window.pop_front();
            }
            window.push_back(value);
        }
        self.lowest = Some(self.lowest.map_or(loss, |lowest| lowest.min(loss)));
        let (lowest, steps) = self.after_newest;
        if steps < SETTLING_STEPS {
            self.after_newest = (Some(lowest.map_or(loss, |lowest| lowest.min(loss))), steps + 1);
        }
        spike
    }

    /// A checkpoint is taken at `step`.
    pub fn checkpoint(&mut self, step: u64) {
        if self.newest != Some(step) {
            self.sound = self.sound_checkpoint();
            (self.newest, self.after_newest) = (Some(step), (None, 0));
        }
    }

    /// The run has returned to the checkpoint at `step`, which was sound.
    pub fn confirm(&mut self, step: u64) {
        self.sound = Some(step);
    }

    /// Step of the newest checkpoint after which the loss stayed low at first; none where there was no such.
    pub fn sound_checkpoint(&self) -> Option<u64> {
        let stayed_low = self.after_newest.0.is_some_and(|loss| !self.has_risen(loss));
        if stayed_low { self.newest } else { self.sound }
    }

    /// Whether the loss of the newest step lies well above the lowest.
    pub fn rises(&self) -> bool {
        self.losses.back().is_some_and(|loss| self.has_risen(*loss))
    }

    fn has_risen(&self, loss: f64) -> bool {
        self.lowest.is_some_and(|lowest| loss > lowest + RISE_NATS.max(RISE_SHARE * lowest))
    }
}

/// (value - mean) / standard deviation of a full window, whose deviation is `least` at the least; else 0.
fn z_score(window: &VecDeque<f64>, value: f64, least: impl Fn(f64) -> f64) -> f64 {
    if window.len() < WINDOW {
        return 0.0;
    }
    let count = window.len() as f64;
    let mean = window.iter().sum::<f64>() / count;
    let variance = window.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    let deviation = variance.sqrt().max(least(mean));
    if deviation > 0.0 { (value - mean) / deviation } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOSS: SpikeLimits = SpikeLimits { loss_z: 6.0, grad_norm_z: 0.0 };

    /// After a full window of losses 2.8 and 3.2, whose mean is 3 and deviation 0.2, and gradient norms of 1.
    fn watched() -> LossWatch {
        let mut watch = LossWatch::default();
        for step in 0..WINDOW {
            assert_eq!(watch.observe([2.8, 3.2][step % 2], 1.0, LOSS), None);
        }
        watch
    }

    #[test]
    fn a_loss_far_above_the_window_is_a_spike_and_begins_once() {
        let mut watch = watched();
        assert_eq!(watch.spike(4.1, 1.0, LOSS), None, "5.5 deviations");
        assert_eq!(watch.spike(0.1, 1.0, LOSS), None, "a fall");
        let spike = watch.observe(4.4, 1.0, LOSS).unwrap();
        assert!((spike.loss_z - 7.0).abs() < 1e-9 && spike.begins, "{spike:?}");
        assert!(!watch.observe(6.0, 1.0, LOSS).unwrap().begins);
        assert_eq!(watch.observe(3.0, 1.0, LOSS), None);
        assert!(watch.observe(9.0, 1.0, LOSS).unwrap().begins);
    }

    #[test]
    fn gradient_norms_have_a_limit_of_their_own_and_0_is_none() {
        let watch = watched();
        let norm = SpikeLimits { loss_z: 0.0, grad_norm_z: 6.0 };
        let spike = watch.spike(3.0, 1.7, norm).unwrap();
        assert!(
            (spike.grad_norm_z - 7.0).abs() < 1e-9,
            "a tenth of the mean is the least deviation: {spike:?}"
        );
        assert_eq!(watch.spike(3.0, 1.5, norm), None);
        assert_eq!(watch.spike(1e9, 1e9, SpikeLimits::default()), None);
    }

    #[test]
    fn before_the_window_is_full_and_on_a_flat_curve_little_is_no_spike() {
        let mut watch = LossWatch::default();
        for _ in 0..WINDOW - 1 {
            watch.observe(0.01, 0.0, LOSS);
        }
        assert_eq!(watch.spike(1e6, 1e6, LOSS), None, "one step short");
        watch.observe(0.01, 0.0, LOSS);
        assert_eq!(watch.spike(0.5, 0.0, LOSS), None);
        assert!(watch.spike(0.7, 0.0, LOSS).is_some());
    }

    #[test]
    fn a_watch_from_a_checkpoint_goes_on_as_if_never_stored() {
        let mut watch = watched();
        watch.checkpoint(128);
        watch.observe(4.4, 1.3, LOSS);
        let stored: LossWatch = serde_json::from_str(&serde_json::to_string(&watch).unwrap()).unwrap();
        assert_eq!(stored, watch);
    }

    /// The losses of steps from 1 on, with a checkpoint after every fifth.
    fn run(losses: &[f64]) -> LossWatch {
        let mut watch = LossWatch::default();
        for (step, loss) in losses.iter().enumerate() {
            watch.observe(*loss, 1.0, SpikeLimits::default());
            if (step + 1) % 5 == 0 {
                watch.checkpoint(step as u64 + 1);
            }
        }
        watch
    }

    #[test]
    fn the_sound_checkpoint_is_the_last_one_before_the_loss_rose() {
        let calm = [5.0, 4.0, 3.5, 3.2, 3.1, 3.0, 3.2, 2.9, 3.1, 3.0, 2.9];
        assert_eq!((run(&calm).sound_checkpoint(), run(&calm).rises()), (Some(10), false));
        // The checkpoint at 10 is followed by high losses at once, those at 15 and 20 stand within the rise.
        let ruined = [&calm[..10], &[8.0; 12]].concat();
        assert_eq!((run(&ruined).sound_checkpoint(), run(&ruined).rises()), (Some(5), true));
        let recovered = [&ruined[..], &[3.0; 4]].concat();
        assert_eq!(run(&recovered).sound_checkpoint(), Some(25));
        assert_eq!(run(&[5.0, 300.0, 300.0, 300.0, 300.0, 300.0]).sound_checkpoint(), None);
    }
}
