//! The learning curve of a fine-tuning: where its best weights lie, and how far training and validation loss are apart there and
//! at the end.

use serde::{Deserialize, Serialize};

/// Relative change of a loss that is more than its usual jitter between evaluations; ours.
const LOSS_CHANGE: f64 = 0.02;

/// One evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearningPoint {
    /// Optimizer steps.
    pub step: u64,
    /// Passes over the training rows.
    pub epoch: f64,
    /// Mean since the evaluation before, nats per row.
    pub train_loss: f64,
    /// On all validation rows, nats per row.
    pub val_loss: f64,
}

/// Those evaluations of a learning curve that matter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearningCurve {
    /// Whose weights the model has.
    #[serde(rename = "kept")]
    pub best: LearningPoint,
    /// Of the lowest validation loss.
    pub lowest: LearningPoint,
    /// The end.
    pub last: LearningPoint,
    /// Whether weights of an earlier evaluation were restored at the end.
    pub restored: bool,
}

impl LearningPoint {
    /// Validation minus training loss, nats per row.
    pub fn gap(&self) -> f64 {
        self.val_loss - self.train_loss
    }
}

impl LearningCurve {
    /// From all evaluations, oldest first; None where there is none, or none at the best step.
    pub fn of(points: &[LearningPoint], best_step: u64) -> Option<Self> {
        let last = *points.last()?;
        let lowest = *points.iter().min_by(|a, b| a.val_loss.total_cmp(&b.val_loss))?;
        let best = *points.iter().find(|point| point.step == best_step)?;
        Some(Self { best, lowest, last, restored: best.step != last.step })
    }

    /// In plain words.
    pub fn words(&self) -> String {
        let Self { best, lowest, last, .. } = self;
        let which = if self.restored { "best weights, restored at the end" } else { "last weights" };
        let mut words = format!(
            "The model has the {which}: step {} of {} (epoch {:.1} of {:.1}), with training loss {:.3}, validation \
             loss {:.3} and a gap of {:.3} nats per row.",
            best.step,
            last.step,
            best.epoch,
            last.epoch,
            best.train_loss,
            best.val_loss,
            best.gap()
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

    fn points(losses: &[(f64, f64)]) -> Vec<LearningPoint> {
        let point = |(at, &(train_loss, val_loss)): (usize, &(f64, f64))| {
            let step = 10 * (at as u64 + 1);
            LearningPoint { step, epoch: step as f64 / 20.0, train_loss, val_loss }
        };
        losses.iter().enumerate().map(point).collect()
    }

    #[test]
    fn overfitting_is_told_with_its_gap_and_the_best_weights() {
        let curve = LearningCurve::of(&points(&[(0.6, 0.6), (0.3, 0.4), (0.1, 0.7)]), 20).unwrap();
        assert_eq!((curve.best.step, curve.lowest.step, curve.restored), (20, 20, true));
        let words = curve.words();
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
    fn a_healthy_curve_says_so() {
        let curve = LearningCurve::of(&points(&[(0.6, 0.6), (0.3, 0.4)]), 20).unwrap();
        assert!(!curve.restored && curve.words().contains("no overfitting"), "{}", curve.words());
        assert_eq!(LearningCurve::of(&points(&[(0.6, 0.6)]), 99), None);
        assert_eq!(LearningCurve::of(&[], 0), None);
    }
}
