//! Counts of (true label, predicted label) and the scores that follow from them alone.
//!
//! A score whose denominator is zero is 0, as scikit-learn's `zero_division=0`; means over labels leave out those in
//! neither truth nor predictions, as its `labels=None`. Checked against scikit-learn in `tests.rs`.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Rows by true label, columns by predicted label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfusionMatrix {
    num_labels: usize,
    counts: Vec<u64>, // (num_labels, num_labels), row-major
}

/// One label against the rest. The names are those of the stored results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinaryCounts {
    /// Positive rows predicted positive.
    pub tp: u64,
    /// Negative rows predicted positive.
    pub fp: u64,
    /// Positive rows predicted negative.
    pub r#fn: u64,
    /// Negative rows predicted negative.
    pub tn: u64,
}

/// Precision, recall and their harmonic mean, of one label or averaged over labels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClassScores {
    /// tp / (tp + fp).
    pub precision: f64,
    /// tp / (tp + fn).
    pub recall: f64,
    /// 2 tp / (2 tp + fp + fn); of an average, the average of the labels' F1.
    pub f1: f64,
}

impl BinaryCounts {
    /// Precision, recall and F1 of the positive label.
    pub fn scores(&self) -> ClassScores {
        ClassScores {
            precision: ratio(self.tp, self.tp + self.fp),
            recall: ratio(self.tp, self.tp + self.r#fn),
            f1: ratio(2 * self.tp, 2 * self.tp + self.fp + self.r#fn),
        }
    }

    /// Share of rows predicted correctly.
    pub fn accuracy(&self) -> f64 {
        ratio(self.tp + self.tn, self.tp + self.fp + self.r#fn + self.tn)
    }
}

impl ConfusionMatrix {
    /// A matrix without rows counted yet.
    pub fn new(num_labels: usize) -> Self {
        Self { num_labels, counts: vec![0; num_labels * num_labels] }
    }

    /// Counts each row once.
    ///
    /// Errors: slices of different length, or a label outside `0..num_labels`.
    pub fn from_predictions(labels: &[u32], predictions: &[u32], num_labels: usize) -> Result<Self> {
        if labels.len() != predictions.len() {
            return Err(Error::data(format!(
                "{} labels but {} predictions; score the same rows",
                labels.len(),
                predictions.len()
            )));
        }
        if let Some(label) = labels.iter().chain(predictions).find(|&&label| label as usize >= num_labels) {
            return Err(Error::data(format!("label {label} is outside 0..{num_labels}")));
        }
        let mut matrix = Self::new(num_labels);
        for (&label, &prediction) in labels.iter().zip(predictions) {
            matrix.add(label, prediction, 1);
        }
        Ok(matrix)
    }

    /// Counts one row `times` over. Panics on a label outside the matrix.
    pub fn add(&mut self, label: u32, prediction: u32, times: u64) {
        self.counts[label as usize * self.num_labels + prediction as usize] += times;
    }

    /// The counts, one inner vector per true label.
    pub fn rows(&self) -> Vec<Vec<u64>> {
        self.counts.chunks(self.num_labels).map(<[u64]>::to_vec).collect()
    }

    /// Rows counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Rows whose true label is `label`.
    pub fn support(&self, label: usize) -> u64 {
        self.counts[label * self.num_labels..][..self.num_labels].iter().sum()
    }

    /// `label` as the positive class, all others as the negative one.
    pub fn one_versus_rest(&self, label: usize) -> BinaryCounts {
        let tp = self.correct(label);
        let fp = self.predicted(label) - tp;
        let missed = self.support(label) - tp;
        BinaryCounts { tp, fp, r#fn: missed, tn: self.total() - tp - fp - missed }
    }

    /// Share of rows predicted correctly.
    pub fn accuracy(&self) -> f64 {
        ratio(self.labels().map(|label| self.correct(label)).sum(), self.total())
    }

    /// Share of the majority class: what always predicting it would reach.
    pub fn majority_accuracy(&self) -> f64 {
        ratio(self.labels().map(|label| self.support(label)).max().unwrap_or(0), self.total())
    }

    /// Plain mean over the labels that occur: a rare label weighs as much as a common one.
    pub fn macro_average(&self) -> ClassScores {
        self.average(|label| u64::from(self.occurs(label)))
    }

    /// Whether a row has this label or is predicted as it.
    pub fn occurs(&self, label: usize) -> bool {
        self.support(label) + self.predicted(label) > 0
    }

    /// Mean over labels weighted by support.
    pub fn weighted_average(&self) -> ClassScores {
        self.average(|label| self.support(label))
    }

    /// Scores of the pooled one-versus-rest counts. With one label per row all three equal the accuracy.
    pub fn micro_average(&self) -> ClassScores {
        let pooled = self.labels().map(|label| self.one_versus_rest(label)).fold(
            BinaryCounts::default(),
            |sum, counts| BinaryCounts {
                tp: sum.tp + counts.tp,
                fp: sum.fp + counts.fp,
                r#fn: sum.r#fn + counts.r#fn,
                tn: sum.tn + counts.tn,
            },
        );
        pooled.scores()
    }

    /// Mean recall over the labels that have rows.
    pub fn balanced_accuracy(&self) -> f64 {
        let present: Vec<usize> = self.labels().filter(|&label| self.support(label) > 0).collect();
        let recalls = present.iter().map(|&label| ratio(self.correct(label), self.support(label)));
        recalls.sum::<f64>() / present.len().max(1) as f64
    }

    /// Matthews correlation of true and predicted labels, in -1..=1; 0 where either is constant.
    ///
    /// (c s - sum p t) / sqrt((s^2 - sum p^2) (s^2 - sum t^2)), with s rows, c right ones, and per label p
    /// predicted and t true rows.
    /// Source: Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient".
    pub fn mcc(&self) -> f64 {
        let rows = self.total() as f64;
        let (mut right, mut cross, mut predicted_squares, mut true_squares) = (0.0, 0.0, 0.0, 0.0);
        for label in self.labels() {
            let (predicted, support) = (self.predicted(label) as f64, self.support(label) as f64);
            right += self.correct(label) as f64;
            cross += predicted * support;
            predicted_squares += predicted * predicted;
            true_squares += support * support;
        }
        let norm = ((rows * rows - predicted_squares) * (rows * rows - true_squares)).sqrt();
        if norm == 0.0 { 0.0 } else { (right * rows - cross) / norm }
    }

    fn average(&self, weight: impl Fn(usize) -> u64) -> ClassScores {
        let total = self.labels().map(&weight).sum::<u64>().max(1) as f64;
        self.labels().fold(ClassScores::default(), |sum, label| {
            let (scores, share) = (self.one_versus_rest(label).scores(), weight(label) as f64 / total);
            ClassScores {
                precision: sum.precision + share * scores.precision,
                recall: sum.recall + share * scores.recall,
                f1: sum.f1 + share * scores.f1,
            }
        })
    }

    fn labels(&self) -> std::ops::Range<usize> {
        0..self.num_labels
    }

    fn correct(&self, label: usize) -> u64 {
        self.counts[label * self.num_labels + label]
    }

    fn predicted(&self, label: usize) -> u64 {
        self.counts.iter().skip(label).step_by(self.num_labels).sum()
    }
}

/// The label predicted for a row of probabilities: by `threshold` with two labels, the likeliest with more.
pub fn predict_label(probabilities: &[f64], positive: usize, threshold: Option<f64>) -> usize {
    match threshold {
        Some(threshold) if probabilities[positive] >= threshold => positive,
        Some(_) => 1 - positive,
        None => argmax(probabilities) as usize,
    }
}

/// The label of the largest probability, the first of equals.
pub fn argmax(probabilities: &[f64]) -> u32 {
    let mut best = 0;
    for (label, &probability) in probabilities.iter().enumerate() {
        if probability > probabilities[best] {
            best = label;
        }
    }
    best as u32
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_metrics_guide() {
        let counts = BinaryCounts { tp: 90, fp: 15, r#fn: 10, tn: 85 };
        let scores = counts.scores();
        assert!((scores.precision - 0.857).abs() < 5e-4);
        assert_eq!(scores.recall, 0.9);
        assert_eq!(counts.accuracy(), 0.875);

        let mut matrix = ConfusionMatrix::new(2);
        for (label, prediction, times) in [(1, 1, 90), (0, 1, 15), (1, 0, 10), (0, 0, 85)] {
            matrix.add(label, prediction, times);
        }
        assert_eq!(matrix.one_versus_rest(1), counts);
        assert_eq!(matrix.accuracy(), 0.875);
    }

    #[test]
    fn nothing_counted_is_zero_not_nan() {
        let matrix = ConfusionMatrix::new(3);
        let zero = ClassScores::default();
        assert_eq!([matrix.macro_average(), matrix.weighted_average(), matrix.micro_average()], [zero; 3]);
        assert_eq!([matrix.accuracy(), matrix.balanced_accuracy(), matrix.mcc()], [0.0; 3]);
    }

    #[test]
    fn labels_in_neither_truth_nor_predictions_have_no_part_in_means() {
        // By scikit-learn's definition, which takes the labels that occur in y_true or y_pred: 1; (4/5 + 2/3) / 2; and
        // with a third label that is predicted once and never true (1 + 2/3 + 0) / 3.
        let f1 = |labels: &[u32], predictions: &[u32]| {
            ConfusionMatrix::from_predictions(labels, predictions, 4).unwrap().macro_average().f1
        };
        assert_eq!(f1(&[0, 0, 1], &[0, 0, 1]), 1.0);
        assert!((f1(&[0, 0, 1, 1], &[0, 0, 0, 1]) - 11.0 / 15.0).abs() < 1e-12);
        assert!((f1(&[0, 0, 1, 1], &[0, 0, 2, 1]) - 5.0 / 9.0).abs() < 1e-12);
    }

    #[test]
    fn rows_that_cannot_be_counted_are_refused() {
        assert!(ConfusionMatrix::from_predictions(&[0, 1], &[0], 2).is_err());
        let error = ConfusionMatrix::from_predictions(&[0, 2], &[0, 1], 2).unwrap_err();
        assert_eq!(error.to_string(), "label 2 is outside 0..2");
    }

    #[test]
    fn argmax_takes_the_first_of_equals() {
        assert_eq!(argmax(&[0.2, 0.4, 0.4]), 1);
    }
}
