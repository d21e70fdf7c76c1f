//! Learning rate as a function of progress.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::OptimConfig;

/// Course of the learning rate after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// Stays at the peak.
    Constant,
    /// Falls on a line.
    Linear,
    /// Falls on half a cosine (Loshchilov and Hutter 2017, arXiv 1608.03983).
    #[default]
    Cosine,
    /// Stays at the peak, then falls on a line over the last `decay_fraction` (Hu et al. 2024, arXiv 2404.06395).
    WarmupStableDecay,
}

/// The schedule of one run.
#[derive(Clone, Debug)]
pub struct Schedule {
    config: OptimConfig,
}

impl Schedule {
    /// The schedule that `[optim]` describes.
    pub fn new(config: &OptimConfig) -> Self {
        Self { config: config.clone() }
    }

    /// Learning rate of optimizer step `step` (from 0, of a stage) in a run that is `progress` (0 to 1) through.
    ///
    /// Warm-up is counted in steps and gives (step + 1) / warmup_steps of the peak, so that the first
    /// update already moves.
    pub fn learning_rate(&self, step: u64, progress: f64) -> f64 {
        let c = &self.config;
        if step < c.warmup_steps {
            return c.learning_rate * (step + 1) as f64 / c.warmup_steps as f64;
        }
        let progress = progress.clamp(0.0, 1.0);
        let remaining = match c.schedule {
            ScheduleKind::Constant => 1.0,
            ScheduleKind::Linear => 1.0 - progress,
            ScheduleKind::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            ScheduleKind::WarmupStableDecay if c.decay_fraction > 0.0 => {
                ((1.0 - progress) / c.decay_fraction).min(1.0)
            }
            ScheduleKind::WarmupStableDecay => 1.0,
        };
        c.learning_rate * (c.min_lr_ratio + (1.0 - c.min_lr_ratio) * remaining)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(schedule: ScheduleKind, step: u64, progress: f64) -> f64 {
        let config = OptimConfig { learning_rate: 1.0, warmup_steps: 10, schedule, ..Default::default() };
        Schedule::new(&config).learning_rate(step, progress)
    }

    #[test]
    fn every_schedule_warms_up_on_a_line_to_the_peak() {
        assert_eq!(rate(ScheduleKind::Cosine, 0, 0.0), 0.1);
        assert_eq!(rate(ScheduleKind::Linear, 9, 0.1), 1.0);
    }

    #[test]
    fn schedules_end_at_the_minimum_share_of_the_peak() {
        for schedule in [ScheduleKind::Linear, ScheduleKind::Cosine, ScheduleKind::WarmupStableDecay] {
            assert!((rate(schedule, 100, 1.0) - 0.1).abs() < 1e-12, "{schedule:?}");
        }
        assert_eq!(rate(ScheduleKind::Constant, 100, 1.0), 1.0);
    }

    #[test]
    fn half_way_each_schedule_has_its_own_rate() {
        assert!((rate(ScheduleKind::Linear, 50, 0.5) - 0.55).abs() < 1e-12);
        assert!((rate(ScheduleKind::Cosine, 50, 0.25) - (0.1 + 0.9 * 0.853_553_390_593)).abs() < 1e-9);
        assert_eq!(rate(ScheduleKind::WarmupStableDecay, 50, 0.5), 1.0);
        assert!((rate(ScheduleKind::WarmupStableDecay, 85, 0.85) - 0.55).abs() < 1e-12);
    }
}
