//! A linear classifier on n-grams, the strength of its penalty chosen on validation rows.

use rayon::prelude::*;

use super::linear::{Linear, LinearLoss};
use super::platt::Platt;
use super::tfidf::{Features, SparseRow, Tfidf};
use crate::error::{Error, Result};
use crate::metrics::classification::argmax;
use crate::metrics::curves::best_f1_threshold;
use crate::metrics::stats;

/// Penalties tried by each kind.
pub const SETTINGS_TRIED: usize = 4;
/// Candidates for C, rising so that each fit starts at the one before. From a heavy penalty to almost none:
/// rows have length one, so C = 1 keeps probabilities near the label shares.
const LOGISTIC_GRID: [f64; SETTINGS_TRIED] = [1.0, 10.0, 100.0, 1000.0];
/// The squared hinge pulls harder on wrong rows than the logistic loss, so its useful range lies lower.
const HINGE_GRID: [f64; SETTINGS_TRIED] = [0.1, 1.0, 10.0, 100.0];

/// What is counted and how it is weighed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NgramKind {
    /// Characters or words.
    pub features: Features,
    /// Logistic regression or a support vector machine.
    pub loss: LinearLoss,
}

/// A fitted n-gram classifier.
pub struct Ngrams {
    pub(super) tfidf: Tfidf,
    /// With two labels one model, of label 1; with more one per label.
    pub(super) models: Vec<Scored>,
    pub(super) c: f64,
}

/// A model and what turns its scores into probabilities.
#[derive(Clone)]
pub(super) struct Scored {
    pub model: Linear,
    pub platt: Platt,
}

impl Ngrams {
    /// Learns from `train`, each a text with its label below `num_labels`; deterministic.
    ///
    /// Of the penalties tried, the one of best validation score is kept, the heaviest of equals: F1 of label
    /// `positive` at its best threshold, accuracy where there is none. The scores of a support vector
    /// machine become probabilities by a sigmoid fitted on the validation rows.
    /// Errors: fewer than two labels, no training or validation rows, a label out of range.
    pub fn fit(
        NgramKind { features, loss }: NgramKind,
        train: &[(String, u32)],
        validation: &[(String, u32)],
        num_labels: usize,
        positive: Option<usize>,
    ) -> Result<Self> {
        check(train, validation, num_labels, positive)?;
        let tfidf = Tfidf::fit(features, &texts(train));
        let (train_rows, validation_rows) = (tfidf.rows(&texts(train)), tfidf.rows(&texts(validation)));
        let modelled: Vec<usize> = if num_labels == 2 { vec![1] } else { (0..num_labels).collect() };
        let of_rows =
            |rows| -> Vec<Vec<bool>> { modelled.iter().map(|label| is_label(rows, *label)).collect() };
        let (targets, validation_targets) = (of_rows(train), of_rows(validation));
        let mut models = vec![Linear::new(loss, tfidf.num_features(), train.len()); targets.len()];
        let mut best: Option<(f64, f64, Vec<Scored>)> = None;
        for c in if loss == LinearLoss::Logistic { LOGISTIC_GRID } else { HINGE_GRID } {
            let fits = models.par_iter_mut().zip(&targets);
            fits.for_each(|(model, positives)| model.fit(&train_rows, positives, c));
            let scored: Vec<Scored> = models
                .iter()
                .zip(&validation_targets)
                .map(|(model, positives)| {
                    let platt = match loss {
                        LinearLoss::Logistic => Platt::IDENTITY,
                        LinearLoss::SquaredHinge => Platt::fit(&model.scores(&validation_rows), positives),
                    };
                    Scored { model: model.clone(), platt }
                })
                .collect();
            let score = validation_score(&probabilities(&scored, &validation_rows), validation, positive);
            if best.as_ref().is_none_or(|(best, ..)| score > *best) {
                best = Some((score, c, scored));
            }
        }
        let (_, c, models) = best.expect("the grid is not empty");
        Ok(Self { tfidf, models, c })
    }

    /// One row of probabilities per text: (texts, num_labels).
    pub fn probabilities<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Vec<Vec<f64>> {
        probabilities(&self.models, &self.tfidf.rows(texts))
    }

    /// The penalty chosen: weight of the training loss against |w|^2 / 2.
    pub fn c(&self) -> f64 {
        self.c
    }
}

/// With more than two labels the one-versus-rest probabilities are scaled to sum to one.
pub(super) fn probabilities(models: &[Scored], rows: &[SparseRow]) -> Vec<Vec<f64>> {
    let probability = |of: &Scored, row: &SparseRow| of.platt.probability(of.model.score(row));
    let of_row = |row: &SparseRow| match models {
        [of_one] => {
            let probability = probability(of_one, row);
            vec![1.0 - probability, probability]
        }
        _ => {
            let each: Vec<f64> = models.iter().map(|model| probability(model, row)).collect();
            let sum: f64 = each.iter().sum();
            each.into_iter().map(|probability| probability / sum).collect()
        }
    };
    rows.par_iter().map(of_row).collect()
}

fn validation_score(
    probabilities: &[Vec<f64>],
    validation: &[(String, u32)],
    positive: Option<usize>,
) -> f64 {
    if let Some(positive) = positive {
        let of_positive: Vec<f64> = probabilities.iter().map(|row| row[positive]).collect();
        return best_f1_threshold(&is_label(validation, positive), &of_positive).f1;
    }
    stats::mean(
        probabilities.iter().zip(validation).map(|(row, (_, label))| f64::from(argmax(row) == *label)),
    )
}

fn is_label(rows: &[(String, u32)], label: usize) -> Vec<bool> {
    rows.iter().map(|(_, own)| *own as usize == label).collect()
}

fn texts(rows: &[(String, u32)]) -> Vec<&str> {
    rows.iter().map(|(text, _)| text.as_str()).collect()
}

fn check(
    train: &[(String, u32)],
    validation: &[(String, u32)],
    num_labels: usize,
    positive: Option<usize>,
) -> Result<()> {
    if let Some(positive) = positive.filter(|positive| *positive >= num_labels) {
        return Err(Error::data(format!("label {positive}, the positive one, is outside 0..{num_labels}")));
    }
    if num_labels < 2 {
        return Err(Error::data(format!("{num_labels} labels; need two or more")));
    }
    if train.is_empty() || validation.is_empty() {
        return Err(Error::data(format!(
            "the n-gram baseline needs training and validation rows, got {} and {}",
            train.len(),
            validation.len()
        )));
    }
    match train.iter().chain(validation).find(|(_, label)| *label as usize >= num_labels) {
        Some((_, label)) => Err(Error::data(format!("label {label} is outside 0..{num_labels}"))),
        None => Ok(()),
    }
}
