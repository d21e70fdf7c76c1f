//! How many labels pre-training is worth: the labels one curve needs for the score of another.
//!
//! Curves of score over labels are read by linear interpolation over ln labels, after each point is raised to
//! the best one with fewer labels. Beyond the measured labels there is a bound and no guess.

use serde::{Deserialize, Serialize};

use super::paired::SeedScores;
use super::stats::{interval, mean};

/// What a ratio says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Read off between measured labels.
    About,
    /// The other curve does not reach the score with all labels measured.
    AtLeast,
    /// The other curve is above the score with the fewest labels measured already.
    AtMost,
}

/// With `labels` labels an arm is as good as another with `ratio` times as many.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelRatio {
    /// Budget of the first arm, a number or `all`.
    pub budget: String,
    /// Labels of it.
    pub labels: f64,
    /// Its score.
    pub score: f64,
    /// Labels the other arm needs for that score, by those of the first.
    pub ratio: f64,
    /// Whether the ratio is a value or the end of what was measured.
    pub bound: Bound,
    /// Percentile bootstrap over rows and seeds; ends that lie beyond what was measured are cut there.
    pub ci95: [f64; 2],
}

/// The ratio at each budget; None where the score is undefined. All slices are by budget, labels rising.
pub fn label_ratios(
    budgets: &[String],
    labels: &[f64],
    first: &[&SeedScores],
    other: &[&SeedScores],
    score: &str,
) -> Option<Vec<LabelRatio>> {
    let means = |arm: &[&SeedScores]| -> Option<Vec<f64>> {
        arm.iter().map(|scores| scores.per_seed(score).map(mean)).collect()
    };
    let (first_means, other_means) = (means(first)?, means(other)?);
    let drawn = |arm: &[&SeedScores]| -> Vec<Vec<Option<f64>>> {
        arm.iter().map(|scores| scores.resampled(score)).collect()
    };
    let (first_drawn, other_drawn) = (drawn(first), drawn(other));
    let resamples = first_drawn.first().map_or(0, Vec::len);
    let ratio_of = |at: usize| {
        let (needed, bound) = labels_needed(labels, &other_means, first_means[at]);
        let resampled = (0..resamples).filter_map(|resample| {
            let curve: Option<Vec<f64>> = other_drawn.iter().map(|drawn| drawn[resample]).collect();
            Some(labels_needed(labels, &curve?, first_drawn[at][resample]?).0 / labels[at])
        });
        let ci95 = interval(resampled.collect())?;
        let (budget, labels, score) = (budgets[at].clone(), labels[at], first_means[at]);
        Some(LabelRatio { budget, labels, score, ratio: needed / labels, bound, ci95 })
    };
    (0..labels.len()).map(ratio_of).collect()
}

/// Labels at which a curve first reaches `target`; `labels` rise, with one score each.
pub fn labels_needed(labels: &[f64], scores: &[f64], target: f64) -> (f64, Bound) {
    let mut best = f64::NEG_INFINITY;
    let mut before: Option<(f64, f64)> = None;
    for (&count, &score) in labels.iter().zip(scores) {
        best = best.max(score);
        if best >= target {
            return match before {
                None => (count, if best > target { Bound::AtMost } else { Bound::About }),
                Some((fewer, lower)) => {
                    let share = (target - lower) / (best - lower);
                    ((fewer.ln() + share * (count.ln() - fewer.ln())).exp(), Bound::About)
                }
            };
        }
        before = Some((count, best));
    }
    (before.map_or(f64::NAN, |(count, _)| count), Bound::AtLeast)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [f64; 3] = [100.0, 200.0, 800.0];

    #[test]
    fn between_budgets_the_logarithm_of_the_labels_is_read_off() {
        let (needed, bound) = labels_needed(&LABELS, &[0.5, 0.6, 0.8], 0.7);
        assert_eq!(bound, Bound::About);
        assert!((needed - 400.0).abs() < 1e-9, "half way from 200 to 800 by ratio: {needed}");
        assert_eq!(labels_needed(&LABELS, &[0.5, 0.6, 0.8], 0.5), (100.0, Bound::About));
    }

    #[test]
    fn beyond_the_curve_there_is_a_bound_only() {
        assert_eq!(labels_needed(&LABELS, &[0.5, 0.6, 0.8], 0.9), (800.0, Bound::AtLeast));
        assert_eq!(labels_needed(&LABELS, &[0.5, 0.6, 0.8], 0.4), (100.0, Bound::AtMost));
    }

    #[test]
    fn a_dip_does_not_make_a_score_unreached() {
        let (needed, bound) = labels_needed(&LABELS, &[0.7, 0.6, 0.8], 0.7);
        assert_eq!((needed, bound), (100.0, Bound::About));
        let (needed, _) = labels_needed(&LABELS, &[0.7, 0.6, 0.8], 0.75);
        assert!((200.0..800.0).contains(&needed));
    }
}
