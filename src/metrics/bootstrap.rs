//! Percentile bootstrap over rows: how far a score would move on another test set of the same size.
//!
//! Each resample has its own seeded stream, so the result does not depend on the number of threads.
//! Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap".

use rayon::prelude::*;

use super::stats::{interval, resample};
use crate::rng;

/// Resamples of the rows: 25 of them lie beyond either end of a 95 % interval.
pub const RESAMPLES: u64 = 1000;

/// 95 % intervals `[low, high]` of K scores; None where no resample defines the score.
///
/// `scores` gets how often each row was drawn, `rows` weights that sum to `rows`.
pub fn intervals<const K: usize>(
    rows: usize,
    seed: u64,
    scores: impl Fn(&[u32]) -> [Option<f64>; K] + Sync,
) -> [Option<[f64; 2]>; K] {
    let resampled: Vec<[Option<f64>; K]> = (0..RESAMPLES)
        .into_par_iter()
        .map(|draw| scores(&resample(rows, &mut rng::stream(seed, "metrics/bootstrap", &[draw]))))
        .collect();
    std::array::from_fn(|k| interval(resampled.iter().filter_map(|scores| scores[k]).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_share_is_that_of_the_normal_approximation() {
        // 400 rows, half of them hits: standard error sqrt(0.25 / 400) = 0.025, so 0.5 +- 0.049.
        let share = |weights: &[u32]| [Some(weights[..200].iter().sum::<u32>() as f64 / 400.0)];
        let [interval] = intervals(400, 7, share);
        let [low, high] = interval.unwrap();
        assert!((low - 0.451).abs() < 0.006 && (high - 0.549).abs() < 0.006, "{low} {high}");
    }

    #[test]
    fn the_seed_decides_and_undefined_scores_are_left_out() {
        let first_row = |weights: &[u32]| [(weights[0] > 0).then_some(f64::from(weights[0])), None];
        let once = intervals(10, 1, first_row);
        assert_eq!(once, intervals(10, 1, first_row));
        assert_eq!(once[0].unwrap()[0], 1.0);
        assert_eq!(once[1], None);
    }
}
