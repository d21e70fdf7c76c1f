//! Whether two classifiers differ: scores resampled over test rows and seeds, exact tests, and how many more
//! rows an unclear difference would need.
//!
//! Draws depend on the seed and the number of the resample alone, so two arms measured on the same rows with
//! the same seeds are paired draw by draw. Checked against SciPy and statsmodels in `tests.rs`.

use rand::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::cross_validation::CorrectedT;
use super::scores::{HEADLINE_NAMES, NUM_HEADLINE, Rows};
use super::stats::{interval, mean, resample, std, variance};
use crate::rng;

/// Resamples of rows and seeds: 50 of them lie beyond either end of a 95 % interval.
pub const RESAMPLES: u64 = 2000;
/// Standard errors that an effect must measure to be found at the 5 % level with a chance of 80 %:
/// the normal quantiles 1.960 and 0.842.
const DETECTABLE: f64 = 1.959_964 + 0.841_621;

/// One classifier trained with several seeds and scored on the same rows: its scores, and how they move under
/// resampling. Columns are those of [`HEADLINE_NAMES`].
pub struct SeedScores {
    per_seed: Vec<[Option<f64>; NUM_HEADLINE]>,
    /// Means over the drawn seeds, per resample of rows and seeds.
    drawn: Vec<[Option<f64>; NUM_HEADLINE]>,
    /// Means over all seeds, per resample of the rows alone.
    rows_only: Vec<[Option<f64>; NUM_HEADLINE]>,
    rows: usize,
    /// Scores on each test part of a cross-validation, in one order for all classifiers; else empty.
    parts: Vec<[Option<f64>; NUM_HEADLINE]>,
    /// Folds that each seed draws.
    folds: usize,
}

/// One score of an arm minus that of another, seed by seed on the same rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Mean over seeds; of a cross-validation over the folds of all seeds.
    pub difference: f64,
    /// Percentile bootstrap over rows and seeds; of a cross-validation by `corrected`.
    pub ci95: [f64; 2],
    /// Two-sided: twice the share of resamples on the far side of zero; of a cross-validation by `corrected`.
    pub p_value: f64,
    /// The same after Holm's correction over the label budgets compared.
    pub p_value_holm: f64,
    /// One-sided, of the two on either side: the chance of a difference this close to zero where the true one is as
    /// large as the margin of equivalence.
    #[serde(default = "one")]
    pub equivalence_p_value: f64,
    /// The same after Holm's correction.
    #[serde(default = "one")]
    pub equivalence_p_value_holm: f64,
    /// Test over the folds of a cross-validation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrected: Option<CorrectedT>,
    /// Seed by seed.
    pub per_seed: Vec<f64>,
    /// Over the seeds alone.
    pub sign_test: SignTest,
    /// Standard error from the choice of test rows.
    pub rows_std_error: f64,
    /// Standard error from the choice of seeds; 0 with one seed.
    pub seeds_std_error: f64,
    /// Of accuracy only: seed by seed, which rows one arm alone answers rightly.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub mcnemar: Vec<McNemar>,
}

/// Seeds on which the first is above, below, or equal to the second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignTest {
    /// First above second.
    pub wins: u64,
    /// First below second.
    pub losses: u64,
    /// Neither; left out of the test.
    pub ties: u64,
    /// Exact, two-sided.
    pub p_value: f64,
}

/// Rows on which exactly one of two classifiers is right.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct McNemar {
    /// The first alone is right.
    pub only_first: u64,
    /// The second alone is right.
    pub only_second: u64,
    /// Exact, two-sided.
    pub p_value: f64,
}

/// What would make an unclear difference clear, if it is as large as it looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Needed {
    /// So many test rows beyond those there are.
    Rows(f64),
    /// So many seeds in all, on the rows there are: the seeds vary too much for any number of rows.
    Seeds(f64),
    /// Either alone would not do.
    Both,
}

impl SeedScores {
    /// Scores one run per seed and resamples them.
    ///
    /// Of S seeds each resample draws S - 1 with replacement (the one, if there is one): the variance of the
    /// mean is then right for few seeds, where drawing S would give (S - 1) / S of it.
    /// Source: Rao and Wu 1988, "Resampling inference with complex survey data".
    pub fn resample(runs: &[Rows<'_>], seed: u64) -> Self {
        let rows = runs[0].len();
        let once = vec![1; rows];
        let per_seed = runs.iter().map(|run| run.headline(&once).values()).collect();
        let draw = |number: u64| {
            let mut rng = rng::stream(seed, "metrics/paired", &[number]);
            let weights = resample(rows, &mut rng);
            let chosen: Vec<usize> =
                (0..(runs.len() - 1).max(1)).map(|_| rng.random_range(0..runs.len())).collect();
            let scores: Vec<_> = runs.iter().map(|run| run.headline(&weights).values()).collect();
            (mean_rows(chosen.iter().map(|&run| &scores[run])), mean_rows(scores.iter()))
        };
        let (drawn, rows_only) = (0..RESAMPLES).into_par_iter().map(draw).unzip();
        Self { per_seed, drawn, rows_only, rows, parts: Vec::new(), folds: 0 }
    }

    /// The same with the scores on each fold of each seed, by which differences are tested then.
    #[must_use]
    pub fn on_folds(self, parts: Vec<[Option<f64>; NUM_HEADLINE]>, folds: usize) -> Self {
        Self { parts, folds, ..self }
    }

    /// Values of a score in the order of the seeds; None where one is undefined.
    pub fn per_seed(&self, name: &str) -> Option<Vec<f64>> {
        let column = column(name)?;
        self.per_seed.iter().map(|scores| scores[column]).collect()
    }

    /// Means over drawn seeds of a score in the order of the resamples, undefined ones left out.
    pub fn resampled(&self, name: &str) -> Vec<Option<f64>> {
        let column = column(name);
        self.drawn.iter().map(|scores| scores[column?]).collect()
    }

    /// 95 % interval of the mean over seeds of a score; None where it is undefined.
    pub fn interval(&self, name: &str) -> Option<[f64; 2]> {
        interval(self.resampled(name).into_iter().flatten().collect())
    }

    /// `self` minus `other`, held against zero and against `margin` on either side; None where the score is undefined
    /// for either.
    ///
    /// Equivalence is shown by two one-sided tests. Source: Schuirmann 1987, "A comparison of the two one-sided tests
    /// procedure and the power approach".
    pub fn difference(&self, other: &Self, name: &str, margin: f64) -> Option<Difference> {
        let column = column(name)?;
        let pairs = self.per_seed(name)?.into_iter().zip(other.per_seed(name)?);
        let mut per_seed: Vec<f64> = pairs.map(|(a, b)| a - b).collect();
        let minus = |a: &[[Option<f64>; NUM_HEADLINE]], b: &[[Option<f64>; NUM_HEADLINE]]| -> Vec<f64> {
            a.iter().zip(b).filter_map(|(a, b)| Some(a[column]? - b[column]?)).collect()
        };
        let drawn = minus(&self.drawn, &other.drawn);
        let parts = self.on_parts(other, column);
        let corrected = parts.as_ref().and_then(|parts| CorrectedT::of(parts, self.folds));
        if let (Some(parts), Some(_)) = (&parts, &corrected) {
            // What is tested is what is told: means over folds.
            per_seed = parts.chunks(self.folds).map(|folds| mean(folds.iter().copied())).collect();
        }
        let difference = mean(per_seed.iter().copied());
        let (p_value, equivalence) = match &corrected {
            Some(test) => {
                let sides = [test.beyond(-difference, -margin), test.beyond(difference, -margin)];
                (test.p_value(difference), sides[0].max(sides[1]))
            }
            // Resamples that all agree, as of answers that are the same, cannot tell how far a difference could be.
            None if variance(&drawn) == 0.0 => (p_value(&drawn), 1.0),
            None => (p_value(&drawn), share(&drawn, |d| d >= margin).max(share(&drawn, |d| d <= -margin))),
        };
        Some(Difference {
            difference,
            ci95: corrected.map_or_else(|| interval(drawn), |test| Some(test.interval(difference)))?,
            p_value,
            p_value_holm: p_value,
            equivalence_p_value: equivalence,
            equivalence_p_value_holm: equivalence,
            corrected,
            sign_test: SignTest::of(&per_seed),
            rows_std_error: std(&minus(&self.rows_only, &other.rows_only)),
            seeds_std_error: (variance(&per_seed) / per_seed.len() as f64).sqrt(),
            per_seed,
            mcnemar: Vec::new(),
        })
    }

    /// Differences on every fold of every seed; None without folds, and where the score is undefined on one.
    fn on_parts(&self, other: &Self, column: usize) -> Option<Vec<f64>> {
        let pairs = self.parts.iter().zip(&other.parts);
        pairs.map(|(a, b)| Some(a[column]? - b[column]?)).collect()
    }

    /// Test rows each seed was scored on.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

impl Difference {
    /// What would show this difference at the 5 % level with a chance of 80 %, given `rows` test rows now.
    ///
    /// The variance from the rows falls with their number, that from the seeds with theirs.
    pub fn needed(&self, rows: usize) -> Needed {
        let (detectable, seeds) = ((self.difference / DETECTABLE).powi(2), self.per_seed.len() as f64);
        let allowed = detectable - self.seeds_std_error.powi(2);
        if allowed <= 0.0 {
            let left = detectable - self.rows_std_error.powi(2);
            let all = seeds * self.seeds_std_error.powi(2) / left;
            return if left > 0.0 { Needed::Seeds(all) } else { Needed::Both };
        }
        let all = rows as f64 * self.rows_std_error.powi(2) / allowed;
        Needed::Rows((all - rows as f64).max(0.0))
    }
}

impl SignTest {
    /// Counts the signs of `differences`.
    pub fn of(differences: &[f64]) -> Self {
        let count = |test: fn(&f64) -> bool| differences.iter().filter(|d| test(d)).count() as u64;
        let (wins, losses) = (count(|d| *d > 0.0), count(|d| *d < 0.0));
        let ties = differences.len() as u64 - wins - losses;
        Self { wins, losses, ties, p_value: exact_binomial(wins, losses) }
    }
}

impl McNemar {
    /// Compares two classifiers by whether each answered each row rightly.
    ///
    /// Source: McNemar 1947, in the exact form: under equality either is the one that is right by a fair coin.
    pub fn of(first: &Rows<'_>, second: &Rows<'_>) -> Self {
        let pairs = first.right().zip(second.right());
        let (mut only_first, mut only_second) = (0, 0);
        for (first, second) in pairs {
            only_first += u64::from(first && !second);
            only_second += u64::from(second && !first);
        }
        Self { only_first, only_second, p_value: exact_binomial(only_first, only_second) }
    }
}

/// Two-sided p-value of `a` heads and `b` tails of a fair coin: the chance of a split at least as uneven.
pub fn exact_binomial(a: u64, b: u64) -> f64 {
    let n = a + b;
    // ln of n over k, times 2^-n, from one k to the next.
    let mut term = -(n as f64) * std::f64::consts::LN_2;
    let mut sum = 0.0;
    for k in 0..=a.min(b) {
        sum += term.exp();
        term += ((n - k) as f64 / (k + 1) as f64).ln();
    }
    (2.0 * sum).min(1.0)
}

/// Corrects p-values for having made several tests, in their order.
///
/// Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let (mut corrected, mut highest) = (vec![0.0; p_values.len()], 0.0_f64);
    for (rank, &test) in order.iter().enumerate() {
        highest = highest.max(p_values[test] * (p_values.len() - rank) as f64).min(1.0);
        corrected[test] = highest;
    }
    corrected
}

/// The percentile interval that just touches zero, as a p-value; the observed sample counts as one resample.
fn p_value(differences: &[f64]) -> f64 {
    (2.0 * share(differences, |d| d <= 0.0).min(share(differences, |d| d >= 0.0))).min(1.0)
}

/// Share of the resamples for which `test` holds, the observed sample counted as one.
fn share(differences: &[f64], test: impl Fn(f64) -> bool) -> f64 {
    (differences.iter().filter(|d| test(**d)).count() + 1) as f64 / (differences.len() + 1) as f64
}

/// Nothing is shown.
fn one() -> f64 {
    1.0
}

fn column(name: &str) -> Option<usize> {
    HEADLINE_NAMES.iter().position(|known| *known == name)
}

fn mean_rows<'a>(
    rows: impl ExactSizeIterator<Item = &'a [Option<f64>; NUM_HEADLINE]>,
) -> [Option<f64>; NUM_HEADLINE] {
    let count = rows.len() as f64;
    let mut sums = [Some(0.0); NUM_HEADLINE];
    for row in rows {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum = sum.zip(*value).map(|(sum, value)| sum + value);
        }
    }
    sums.map(|sum| sum.map(|sum| sum / count))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEDS: usize = 3;

    /// Labels of 400 rows, and one run per seed that is wrong on every `every`-th row, from another start.
    fn runs(labels: &[u32], every: usize) -> Vec<Rows<'_>> {
        let run = |seed: usize| {
            let answer = |(row, &label): (usize, &u32)| {
                let wrong = (row + 7 * seed).is_multiple_of(every);
                let positive = if (label == 1) != wrong { 0.9 } else { 0.1 };
                vec![1.0 - positive, positive]
            };
            let probabilities: Vec<Vec<f64>> = labels.iter().enumerate().map(answer).collect();
            Rows::new(labels, &probabilities, 2, 1, Some(0.5))
        };
        (0..SEEDS).map(run).collect()
    }

    fn labels() -> Vec<u32> {
        (0..400).map(|row| u32::from(row % 3 == 0)).collect()
    }

    #[test]
    fn the_same_answers_do_not_differ() {
        let labels = labels();
        let runs = runs(&labels, 10);
        let scores = SeedScores::resample(&runs, 1);
        let same = scores.difference(&SeedScores::resample(&runs, 1), "f1", 0.02).unwrap();
        assert_eq!((same.difference, same.ci95, same.p_value), (0.0, [0.0, 0.0], 1.0));
        assert_eq!(same.sign_test, SignTest { wins: 0, losses: 0, ties: 3, p_value: 1.0 });
        assert_eq!(same.equivalence_p_value, 1.0, "nothing varies, so nothing is known of what could");
        let counts = McNemar::of(&runs[0], &runs[0]);
        assert_eq!((counts.only_first, counts.only_second, counts.p_value), (0, 0, 1.0));
    }

    #[test]
    fn a_plain_difference_is_found_and_its_interval_is_that_of_the_normal_approximation() {
        let labels = labels();
        let (good, bad) = (runs(&labels, 40), runs(&labels, 5));
        let (good_scores, bad_scores) = (SeedScores::resample(&good, 1), SeedScores::resample(&bad, 1));
        let found = good_scores.difference(&bad_scores, "accuracy", 0.02).unwrap();
        assert!((found.difference - (0.2 - 0.025)).abs() < 1e-3, "{found:?}");
        assert!(found.p_value < 0.01 && found.ci95[0] > 0.0, "{found:?}");
        assert_eq!(found.sign_test.wins, 3);
        assert!(found.equivalence_p_value > 0.99, "{found:?}");
        // The standard error of a mean over rows, of each row's difference averaged over the seeds.
        let right =
            |runs: &[Rows<'_>]| -> Vec<Vec<bool>> { runs.iter().map(|run| run.right().collect()).collect() };
        let (right_good, right_bad) = (right(&good), right(&bad));
        let share = |right: &[Vec<bool>], row: usize| {
            right.iter().filter(|right| right[row]).count() as f64 / SEEDS as f64
        };
        let by_row: Vec<f64> = (0..400).map(|row| share(&right_good, row) - share(&right_bad, row)).collect();
        let expected = (variance(&by_row) / 400.0).sqrt();
        assert!((found.rows_std_error / expected - 1.0).abs() < 0.06, "{expected} {found:?}");
        let counts = McNemar::of(&good[0], &bad[0]);
        assert_eq!((counts.only_first, counts.only_second), (70, 0));
        assert!(counts.p_value < 1e-15);
    }

    #[test]
    fn folds_are_tested_by_their_own_differences() {
        let labels = labels();
        let (good, bad) = (runs(&labels, 40), runs(&labels, 5));
        let parts =
            |value: f64| (0..6).map(move |part| [Some(value + 0.01 * f64::from(part % 3)); NUM_HEADLINE]);
        let first = SeedScores::resample(&good, 1).on_folds(parts(0.9).collect(), 3);
        let second = SeedScores::resample(&bad, 1).on_folds(vec![[Some(0.8); NUM_HEADLINE]; 6], 3);
        let found = first.difference(&second, "accuracy", 0.02).unwrap();
        let test = found.corrected.unwrap();
        // Differences 0.10, 0.11, 0.12, twice: variance 0.8e-4, times 1/6 + 1/2.
        assert!((test.std_error - (0.8e-4_f64 * (1.0 / 6.0 + 0.5)).sqrt()).abs() < 1e-9, "{test:?}");
        assert_eq!(
            (found.ci95, found.p_value),
            (test.interval(found.difference), test.p_value(found.difference))
        );
        assert!(found.p_value < 0.001 && found.equivalence_p_value > 0.99);
    }

    #[test]
    fn resampling_few_seeds_keeps_their_variance() {
        // Two seeds of 10 and 20 % errors, many rows: nearly all variance is that of the seeds.
        let labels: Vec<u32> = (0..20_000).map(|row| row % 2).collect();
        let all: Vec<Rows<'_>> = [10, 5].iter().map(|every| runs(&labels, *every).remove(0)).collect();
        let scores = SeedScores::resample(&all, 3);
        let drawn: Vec<f64> = scores.resampled("accuracy").into_iter().flatten().collect();
        // Two seeds at 0.9 and 0.8: the variance of their mean is (0.1^2 / 2) / 2.
        assert!((variance(&drawn) / 0.0025 - 1.0).abs() < 0.05, "{}", variance(&drawn));
    }

    #[test]
    fn more_rows_are_needed_where_rows_are_the_noise_and_seeds_where_seeds_are() {
        let mut found = Difference {
            difference: 0.01,
            ci95: [-0.01, 0.03],
            p_value: 0.3,
            p_value_holm: 0.3,
            equivalence_p_value: 0.1,
            equivalence_p_value_holm: 0.1,
            corrected: None,
            per_seed: vec![0.01; 3],
            sign_test: SignTest::of(&[0.01; 3]),
            rows_std_error: 0.01,
            seeds_std_error: 0.0,
            mcnemar: Vec::new(),
        };
        // The standard error must shrink from 0.01 to 0.01 / 2.8016: 7.849 times the rows.
        let Needed::Rows(more) = found.needed(1000) else { panic!("rows suffice") };
        assert!((more - 6848.9).abs() < 1.0, "{more}");
        found.seeds_std_error = 0.004;
        assert_eq!(found.needed(1000), Needed::Both, "the rows alone are too few too");
        // (0.01 / 2.8016)^2 = 1.274e-5, of which the rows take 1e-6; three seeds leave 1.6e-5.
        found.rows_std_error = 0.001;
        let Needed::Seeds(all) = found.needed(1000) else { panic!("more seeds suffice") };
        assert!((all - 3.0 * 1.6e-5 / (1.274e-5 - 1e-6)).abs() < 0.01, "{all}");
        (found.difference, found.rows_std_error) = (0.1, 0.01);
        assert_eq!(found.needed(1000), Needed::Rows(0.0));
    }
}
