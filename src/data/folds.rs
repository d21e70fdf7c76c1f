//! Cross-validation: every row is tested once, close texts lie in one fold, and each fold has the label shares of the
//! whole.

use super::grouped_split::{deal, groups};
use super::labelled::{Example, LabelledConfig};
use crate::error::{Error, Result};
use crate::rng;

/// Jaccard similarity of word triples from which two texts lie in one fold.
const CLOSE: f64 = 0.8;

/// Row numbers of training, validation and test, rising.
#[derive(Clone, Debug, PartialEq)]
pub struct Fold {
    /// What neither of the others has.
    pub train: Vec<usize>,
    /// As large a share of all rows as asked, drawn from what is not tested.
    pub validation: Vec<usize>,
    /// The fold itself.
    pub test: Vec<usize>,
}

/// The fold that `config` names, of as many as it names, drawn by its seed.
///
/// Errors: more folds than groups of close texts (65).
pub fn fold(rows: &[Example], config: &LabelledConfig) -> Result<Fold> {
    let texts: Vec<String> = rows.iter().map(|row| row.text.clone()).collect();
    let labels: Vec<u32> = rows.iter().map(|row| row.label).collect();
    let (folds, seed) = (config.folds, config.fold_seed);
    let groups = groups(&texts, CLOSE);
    if groups.len() < folds {
        let why = format!("data.folds is {folds}, but the rows are {} groups of close texts", groups.len());
        return Err(Error::data(format!("{}: {why}; use more rows or fewer folds", config.train)));
    }
    let shares = vec![1.0 / folds as f64; folds];
    let test =
        deal(&groups, &labels, &shares, &mut rng::stream(seed, "folds", &[])).swap_remove(config.fold - 1);
    let others: Vec<Vec<usize>> =
        groups.into_iter().filter(|rows| test.binary_search(&rows[0]).is_err()).collect();
    let share = config.validation_fraction / (1.0 - 1.0 / folds as f64);
    let stream = &mut rng::stream(seed, "validation of a fold", &[config.fold as u64]);
    let [train, validation] =
        deal(&others, &labels, &[1.0 - share, share], stream).try_into().expect("a part for each share");
    Ok(Fold { train, validation, test })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn rows() -> Vec<Example> {
        // Every fifth is of the second label; each text has a near copy.
        let word = |n: usize| ["ab", "cd", "ef", "gh", "ij", "kl", "mn"][n % 7].repeat(n / 7 + 1);
        let text = |row: usize| format!("{} {} see you then at {row}", word(row / 2), word(row / 4));
        (0..200).map(|row| Example { text: text(row), label: u32::from(row / 2 % 5 == 0), line: 0 }).collect()
    }

    fn of(fold: usize, fold_seed: u64) -> Fold {
        let config = LabelledConfig { folds: 4, fold, fold_seed, ..LabelledConfig::default() };
        super::fold(&rows(), &config).unwrap()
    }

    #[test]
    fn every_row_is_tested_once_and_near_copies_stay_together() {
        let folds: Vec<Fold> = (1..=4).map(|fold| of(fold, 1)).collect();
        let mut tested: Vec<usize> = folds.iter().flat_map(|fold| fold.test.clone()).collect();
        tested.sort_unstable();
        assert_eq!(tested, (0..200).collect::<Vec<_>>());
        let rows = rows();
        for fold in folds {
            let parts = [&fold.train, &fold.validation, &fold.test];
            assert_eq!(parts.iter().map(|part| part.len()).sum::<usize>(), 200);
            assert_eq!((fold.test.len(), fold.validation.len()), (50, 20));
            for part in parts {
                let own: BTreeSet<usize> = part.iter().map(|row| row / 2).collect();
                assert_eq!(own.len() * 2, part.len(), "a near copy lies elsewhere");
                let share =
                    part.iter().filter(|row| rows[**row].label == 1).count() as f64 / part.len() as f64;
                assert!((share - 0.2).abs() < 0.03, "{share}");
            }
        }
    }

    #[test]
    fn the_seed_decides_who_is_in_which_fold() {
        assert_eq!(of(2, 1), of(2, 1));
        assert_ne!(of(2, 1).test, of(2, 2).test);
    }

    #[test]
    fn more_folds_than_texts_are_refused() {
        let config = LabelledConfig { folds: 101, fold: 1, ..LabelledConfig::default() };
        let why = fold(&rows(), &config).unwrap_err().to_string();
        assert!(why.contains("data.folds is 101") && why.contains("100 groups"), "{why}");
    }
}
