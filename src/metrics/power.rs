//! Which differences a comparison can show, told before it starts.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// F1 and accuracy that are assumed where nothing is known yet.
pub const ASSUMED_SCORE: f64 = 0.85;
/// Correlation that is assumed between the errors of two classifiers.
pub const ASSUMED_CORRELATION: f64 = 0.5;
/// Standard deviation that is assumed of a difference from seed to seed.
pub const ASSUMED_SEED_STD: f64 = 0.02;

/// What a comparison consists of.
pub struct Planned {
    /// Test rows with the label that leads, for its F1; None where scores are means over the labels.
    pub positives: Option<usize>,
    /// Test rows; in a cross-validation all rows.
    pub rows: usize,
    /// Seeds, or divisions into folds.
    pub seeds: usize,
    /// Folds of each; 0 for none.
    pub folds: usize,
    /// Tests that are made, over which p-values are corrected.
    pub budgets: usize,
}

impl Planned {
    /// The difference in F1 that would be shown at the 5 % level with a chance of 80 %, under the assumptions above.
    ///
    /// F1 of a classifier with precision = recall = f on P positive rows has about the variance
    /// (1 - f) (f (2 - f)^2 + f^2) / 4P, by the delta method over its hits and false alarms; a share of n rows has
    /// f (1 - f) / n. With folds the variance of a test part enters as in [`CorrectedT`](super::cross_validation::CorrectedT).
    pub fn detectable(&self) -> f64 {
        let f = ASSUMED_SCORE;
        let of_one = match self.positives {
            Some(positives) => (1.0 - f) * (f * (2.0 - f).powi(2) + f * f) / (4.0 * positives.max(1) as f64),
            None => f * (1.0 - f) / self.rows.max(1) as f64,
        };
        let (rows, seeds) = (2.0 * (1.0 - ASSUMED_CORRELATION) * of_one, ASSUMED_SEED_STD.powi(2));
        let variance = match self.folds as f64 {
            0.0 => rows + seeds / self.seeds as f64,
            folds => (1.0 / (folds * self.seeds as f64) + 1.0 / (folds - 1.0)) * (folds * rows + seeds),
        };
        let level = 0.05 / self.budgets.max(1) as f64;
        let degrees = (self.folds * self.seeds).saturating_sub(1) as f64;
        let quantile = |share: f64| match StudentsT::new(0.0, 1.0, degrees) {
            Ok(t) if self.folds > 0 => t.inverse_cdf(share),
            _ => Normal::standard().inverse_cdf(share),
        };
        (quantile(1.0 - level / 2.0) + quantile(0.8)) * variance.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_rows_and_seeds_show_smaller_differences() {
        let few = Planned { positives: Some(129), rows: 1032, seeds: 5, folds: 0, budgets: 1 };
        // (1.960 + 0.842) * sqrt(0.15 * (0.85 * 1.15^2 + 0.85^2) / (4 * 129) + 0.02^2 / 5)
        assert!((few.detectable() - 0.069_58).abs() < 1e-4, "{}", few.detectable());
        let more = Planned { positives: Some(1290), rows: 10_320, seeds: 5, folds: 0, budgets: 1 };
        assert!(more.detectable() < few.detectable() / 1.9);
        assert!(Planned { budgets: 6, ..few }.detectable() > 0.08);
        let all = Planned { positives: Some(642), rows: 5159, seeds: 2, folds: 5, budgets: 1 };
        assert!(all.detectable() < 0.075, "{}", all.detectable());
        let one = Planned { positives: Some(642), rows: 5159, seeds: 1, folds: 2, budgets: 1 };
        assert!(one.detectable() > 3.0 * all.detectable(), "one degree of freedom");
    }

    #[test]
    fn the_assumed_variance_is_that_of_a_simulation() {
        use rand::Rng;
        let mut rng = crate::rng::stream(1, "test", &[]);
        let f1 = |rng: &mut rand_chacha::ChaCha8Rng| {
            let hits = (0..400).filter(|_| rng.random_bool(0.85)).count() as f64;
            // As many false alarms as there are misses, over many negative rows.
            let alarms = (0..4000).filter(|_| rng.random_bool(0.015)).count() as f64;
            2.0 * hits / (400.0 + hits + alarms)
        };
        let drawn: Vec<f64> = (0..4000).map(|_| f1(&mut rng)).collect();
        let found = super::super::stats::variance(&drawn);
        let expected = 0.15 * (0.85 * 1.15f64.powi(2) + 0.85 * 0.85) / 1600.0;
        assert!((found / expected - 1.0).abs() < 0.1, "{found} {expected}");
    }
}
