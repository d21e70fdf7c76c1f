//! Whether two classifiers differ by their scores on the folds of a repeated cross-validation.
//!
//! Training rows of the folds overlap, so their differences are not independent, and the plain t-test finds too much.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::stats::variance;

/// Standard error of a mean difference over folds, corrected for the rows that folds share.
///
/// var = (1/J + 1/(K-1)) s^2 with s^2 the variance of the differences on the J test parts of K folds each: a test part has
/// 1/(K-1) of the rows that are trained on, or drawn from. Source: Nadeau and Bengio 2003, "Inference for the
/// generalization error", section 3; for repeated folds Bouckaert and Frank 2004, "Evaluating the replicability of
/// significance tests for comparing learning algorithms".
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CorrectedT {
    /// Of the mean.
    pub std_error: f64,
    /// Degrees of freedom, one fewer than test parts.
    pub degrees: f64,
}

impl CorrectedT {
    /// Of the differences on all test parts, `folds` of each division; None for fewer than two of either, and where all
    /// are the same, which says nothing of how far they could lie apart.
    pub fn of(differences: &[f64], folds: usize) -> Option<Self> {
        if differences.len() < 2 || folds < 2 {
            return None;
        }
        let parts = differences.len() as f64;
        let share = 1.0 / parts + 1.0 / (folds as f64 - 1.0);
        let std_error = (share * variance(differences)).sqrt();
        (std_error > 0.0).then_some(Self { std_error, degrees: parts - 1.0 })
    }

    /// Probability of a mean as far from zero as `difference`, in either direction, where there is no difference.
    pub fn p_value(&self, difference: f64) -> f64 {
        (2.0 * self.beyond(difference.abs(), 0.0)).min(1.0)
    }

    /// The 95 % interval around `difference`.
    pub fn interval(&self, difference: f64) -> [f64; 2] {
        let half = self.distribution().map_or(0.0, |t| t.inverse_cdf(0.975)) * self.std_error;
        [difference - half, difference + half]
    }

    /// Probability of a mean of `difference` or more where the true one is `truth`.
    pub fn beyond(&self, difference: f64, truth: f64) -> f64 {
        self.distribution().map_or(1.0, |t| t.sf((difference - truth) / self.std_error))
    }

    fn distribution(&self) -> Option<StudentsT> {
        StudentsT::new(0.0, 1.0, self.degrees).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_is_that_of_scipys_t_with_the_corrected_variance() {
        // numpy and scipy: d = [...]; se = sqrt((1/10 + 1/4) * var(d, ddof=1)); t.sf, t.ppf with 9 degrees.
        let differences = [0.02, 0.035, -0.004, 0.018, 0.027, 0.011, 0.04, 0.009, 0.022, 0.015];
        let test = CorrectedT::of(&differences, 5).unwrap();
        assert!((test.std_error - 0.007_586_794_1).abs() < 1e-9, "{test:?}");
        assert_eq!(test.degrees, 9.0);
        let mean = 0.0193;
        assert!((test.p_value(mean) - 0.031_508_8).abs() < 1e-6, "{}", test.p_value(mean));
        let [low, high] = test.interval(mean);
        assert!((low - 0.002_137_5).abs() < 1e-6 && (high - 0.036_462_5).abs() < 1e-6, "{low} {high}");
    }

    #[test]
    fn too_few_test_parts_and_equal_ones_say_nothing() {
        assert_eq!(CorrectedT::of(&[0.1], 5), None);
        assert_eq!(CorrectedT::of(&[0.1, 0.2], 1), None);
        assert_eq!(CorrectedT::of(&[0.25, 0.25, 0.25], 3), None);
    }
}
