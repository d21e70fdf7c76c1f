//! One answer from those of two classifiers: a weighted product of their probabilities.

use serde::{Deserialize, Serialize};

/// A logarithmic opinion pool: p ~ a^first b^second, scaled to sum to one.
///
/// Source: Genest and Zidek 1986, "Combining probability distributions", section 3; the weights are free, so that a
/// classifier that is too sure of itself is also tempered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Combination {
    /// Exponent of the first classifier's probabilities, those of the transformer.
    #[serde(rename = "transformer")]
    pub first: f64,
    /// Exponent of the second's, those of the n-grams.
    #[serde(rename = "ngrams")]
    pub second: f64,
}

/// Largest exponent that is tried, and how many steps lie below it.
const MOST: f64 = 1.5;
const STEPS: usize = 15;

impl Combination {
    /// The combination of least mean log loss on these rows: labels (N), probabilities (N, num_labels) of both. Of equals the one
    /// with the smaller exponents.
    pub fn fit(labels: &[u32], first: &[Vec<f64>], second: &[Vec<f64>]) -> Self {
        let exponents = || (0..=STEPS).map(|step| MOST * step as f64 / STEPS as f64);
        let all = exponents().flat_map(|first| exponents().map(move |second| Self { first, second }));
        let mut best = (f64::INFINITY, Self { first: 1.0, second: 0.0 });
        for combination in all {
            let rows = labels.iter().zip(first).zip(second);
            let loss: f64 = rows.map(|((label, a), b)| -combination.of_row(a, b)[*label as usize].ln()).sum();
            if loss < best.0 {
                best = (loss, combination);
            }
        }
        best.1
    }

    /// Probabilities (N, num_labels) of both as one.
    pub fn of(&self, first: &[Vec<f64>], second: &[Vec<f64>]) -> Vec<Vec<f64>> {
        first.iter().zip(second).map(|(a, b)| self.of_row(a, b)).collect()
    }

    fn of_row(&self, first: &[f64], second: &[f64]) -> Vec<f64> {
        // A probability of zero would silence the other classifier for good.
        const LEAST: f64 = 1e-12;
        let log = |p: &f64| p.max(LEAST).ln();
        let scores: Vec<f64> =
            first.iter().zip(second).map(|(a, b)| self.first * log(a) + self.second * log(b)).collect();
        let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let powers: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers.into_iter().map(|power| power / sum).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_combination_is_the_scaled_product_of_powers() {
        let combination = Combination { first: 1.0, second: 0.5 };
        let found = combination.of(&[vec![0.2, 0.8]], &[vec![0.64, 0.36]]);
        // 0.2 * 0.8 and 0.8 * 0.6.
        assert!((found[0][0] - 0.16 / 0.64).abs() < 1e-12, "{found:?}");
        assert_eq!(combination.of(&[vec![0.0, 1.0]], &[vec![1.0, 0.0]])[0].iter().sum::<f64>(), 1.0);
    }

    #[test]
    fn who_knows_nothing_gets_no_weight_and_who_is_too_sure_little() {
        let labels: Vec<u32> = (0..40).map(|row| u32::from(row % 2 == 0)).collect();
        let right = |row: usize| if row.is_multiple_of(2) { vec![0.1, 0.9] } else { vec![0.9, 0.1] };
        let knows: Vec<_> = (0..40).map(right).collect();
        let nothing = vec![vec![0.5, 0.5]; 40];
        let combination = Combination::fit(&labels, &nothing, &knows);
        assert_eq!((combination.first, combination.second), (0.0, MOST));
        // Wrong in every fifth row and sure of it: odds of 4 are right, 0.1 times the logarithm of its own.
        let sure = |row: usize| {
            if row.is_multiple_of(5) == row.is_multiple_of(2) {
                vec![1.0 - 1e-6, 1e-6]
            } else {
                vec![1e-6, 1.0 - 1e-6]
            }
        };
        let sure: Vec<_> = (0..40).map(sure).collect();
        let combination = Combination::fit(&labels, &sure, &nothing);
        assert!((combination.first - 0.1).abs() < 1e-9, "{combination:?}");
    }
}
