//! How a fine-tuning went: where its best weights lie, and how far training and validation loss are apart there and
//! at the end.

use serde::{Deserialize, Serialize};

/// Relative change of a loss that is more than its usual jitter between evaluations; ours.
const LOSS_CHANGE: f64 = 0.02;

/// One evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CoursePoint {
    /// Optimizer steps.
    pub step: u64,
    /// Passes over the training rows.
    pub epoch: f64,
    /// Mean since the evaluation before, nats per row.
    pub train_loss: f64,
    /// On all validation rows, nats per row.
    pub val_loss: f64,
}

/// The evaluations that matter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// Whose weights the model has.
    pub kept: CoursePoint,
    /// Of the lowest validation loss.
    pub lowest: CoursePoint,
    /// The end.
    pub last: CoursePoint,
    /// Whether weights of an earlier evaluation were put back.
    pub restored: bool,
}

impl CoursePoint {
    /// Validation minus training loss, nats per row.
    pub fn gap(&self) -> f64 {
        self.val_loss - self.train_loss
    }
}

impl Course {
    /// From all evaluations, oldest first; None where there is none, or none at the step kept.
    pub fn of(points: &[CoursePoint], kept: u64) -> Option<Self> {
        let last = *points.last()?;
        let lowest = *points.iter().min_by(|a, b| a.val_loss.total_cmp(&b.val_loss))?;
        let kept = *points.iter().find(|point| point.step == kept)?;
        Some(Self { kept, lowest, last, restored: kept.step != last.step })
    }

    /// The story in plain words.
    pub fn words(&self) -> String {
        let Self { kept, lowest, last, .. } = self;
        let weights = if self.restored { "were put back" } else { "are the last" };
        let mut words = format!(
            "The weights kept {weights}: step {} of {} (epoch {:.1} of {:.1}), with training loss {:.3}, validation \
             loss {:.3} and a gap of {:.3} nats per row.",
            kept.step,
            last.step,
            kept.epoch,
            last.epoch,
            kept.train_loss,
            kept.val_loss,
            kept.gap()
        );
        let rose = last.val_loss > lowest.val_loss * (1.0 + LOSS_CHANGE);
        words += &match (rose, last.train_loss < lowest.train_loss) {
            (true, true) => format!(
                " Validation loss was lowest at step {} ({:.3}) and then rose to {:.3} while training loss fell to \
                 {:.3}, a gap of {:.3} at the end: overfitting from there on.",
                lowest.step,
                lowest.val_loss,
                last.val_loss,
                last.train_loss,
                last.gap()
            ),
            (true, false) => format!(
                " Validation loss was lowest at step {} ({:.3}) and ended at {:.3}.",
                lowest.step, lowest.val_loss, last.val_loss
            ),
            _ => " Validation loss did not rise towards the end: no overfitting to see.".into(),
        };
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(losses: &[(f64, f64)]) -> Vec<CoursePoint> {
        let point = |(at, &(train_loss, val_loss)): (usize, &(f64, f64))| {
            let step = 10 * (at as u64 + 1);
            CoursePoint { step, epoch: step as f64 / 20.0, train_loss, val_loss }
        };
        losses.iter().enumerate().map(point).collect()
    }

    #[test]
    fn overfitting_is_told_with_its_gap_and_the_weights_kept() {
        let course = Course::of(&points(&[(0.6, 0.6), (0.3, 0.4), (0.1, 0.7)]), 20).unwrap();
        assert_eq!((course.kept.step, course.lowest.step, course.restored), (20, 20, true));
        let words = course.words();
        for part in [
            "step 20 of 30 (epoch 1.0 of 1.5)",
            "gap of 0.100",
            "rose to 0.700",
            "gap of 0.600",
            "overfitting",
        ] {
            assert!(words.contains(part), "{part}: {words}");
        }
    }

    #[test]
    fn a_healthy_course_says_so() {
        let course = Course::of(&points(&[(0.6, 0.6), (0.3, 0.4)]), 20).unwrap();
        assert!(!course.restored && course.words().contains("no overfitting"), "{}", course.words());
        assert_eq!(Course::of(&points(&[(0.6, 0.6)]), 99), None);
        assert_eq!(Course::of(&[], 0), None);
    }
}
