//! Means, variances and quantiles, each in one place.

use rand::Rng;

/// Sum over count; NaN of nothing.
pub fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut count = 0;
    values.into_iter().inspect(|_| count += 1).sum::<f64>() / f64::from(count)
}

/// Of a sample, unbiased: squared distances from the mean over one less than their count; 0 for one value.
pub fn variance(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values.iter().copied());
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64
}

/// Root of the [`variance`].
pub fn std(values: &[f64]) -> f64 {
    variance(values).sqrt()
}

/// The value below which a share of the values lies, by linear interpolation between neighbours in rank. `sorted` is
/// not empty.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = share * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
    low + (high - low) * rank.fract()
}

/// The same for counts: the value at the nearest rank; None of nothing.
pub fn nearest_rank(sorted: &[usize], share: f64) -> Option<usize> {
    let rank = (share * sorted.len().saturating_sub(1) as f64).round();
    sorted.get(rank as usize).copied()
}

/// Ends of the middle 95 % of some values; None of nothing.
pub fn interval(mut values: Vec<f64>) -> Option<[f64; 2]> {
    values.sort_by(f64::total_cmp);
    (!values.is_empty()).then(|| [quantile(&values, 0.025), quantile(&values, 0.975)])
}

/// How often each of `rows` rows is drawn when as many are drawn with replacement.
pub fn resample(rows: usize, rng: &mut impl Rng) -> Vec<u32> {
    let mut weights = vec![0; rows];
    for _ in 0..rows {
        weights[rng.random_range(0..rows)] += 1;
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
        assert_eq!(quantile(&[5.0], 0.975), 5.0);
        assert_eq!(nearest_rank(&[1, 2, 9], 0.95), Some(9));
        assert_eq!((nearest_rank(&[], 0.5), interval(Vec::new())), (None, None));
    }

    #[test]
    fn the_variance_is_that_of_a_sample() {
        assert_eq!(mean([1.0, 2.0, 6.0]), 3.0);
        assert_eq!((variance(&[1.0, 3.0]), variance(&[7.0])), (2.0, 0.0));
        assert_eq!(std(&[1.0, 3.0]), 2.0_f64.sqrt());
    }
}
