//! All scores of one set of labelled rows, as they stand in the stored results.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bootstrap;
use super::classification::{BinaryCounts, ClassScores, ConfusionMatrix, predict_label};
use super::curves::{Ranking, best_f1_threshold};
use crate::error::{Error, Result};

/// Scores of a classifier on a set of rows; the field names are the keys of `results.json`.
///
/// With two labels precision, recall, F1 and the areas are those of the positive label. With more they are
/// plain means over labels, each against the rest, precision, recall and F1 over those in truth or predictions; the four counts stay those of the positive label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Mean cross-entropy, nats per row.
    pub loss: f64,
    /// Share of rows predicted correctly.
    pub accuracy: f64,
    /// Share of rows predicted positive that are.
    pub precision: f64,
    /// Share of positive rows predicted positive.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Matthews correlation, -1 to 1; 0 is chance.
    pub mcc: f64,
    /// Mean recall over the labels that have rows.
    pub balanced_accuracy: f64,
    /// Area under the ROC curve; None when a label has no rows.
    pub roc_auc: Option<f64>,
    /// Average precision; None when a label has no rows.
    pub pr_auc: Option<f64>,
    /// Of the positive label against the rest: tp, fp, fn, tn.
    #[serde(flatten)]
    pub counts: BinaryCounts,
    /// The positive label is predicted at this probability or above; None for more than two labels (argmax).
    pub threshold: Option<f64>,
    /// Share of the majority class in these rows.
    pub majority_accuracy: f64,
    /// Plain mean of the F1 of the labels in truth or predictions.
    pub macro_f1: f64,
    /// Mean of the labels' F1 by support.
    pub weighted_f1: f64,
    /// One entry per label, in label order.
    pub per_class: Vec<LabelScores>,
    /// Rows by true label, columns by predicted label.
    pub confusion: Vec<Vec<u64>>,
    /// Value and 95 % interval by score name; an undefined score has no entry.
    pub ci: BTreeMap<String, Estimate>,
}

/// Scores of one label against the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelScores {
    /// Name of the label.
    pub label: String,
    /// Share of rows predicted as this label that have it.
    pub precision: f64,
    /// Share of rows with this label that are predicted as it.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// Rows with this label.
    pub support: u64,
}

/// A score with its uncertainty.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The score on all rows.
    pub value: f64,
    /// Percentile bootstrap over rows.
    pub ci95: [f64; 2],
}

/// How a label follows from probabilities. More than two labels always take the likeliest one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Threshold {
    /// At this probability or above, such as one chosen on validation rows before.
    Fixed(f64),
    /// Where F1 is best on these very rows: for validation rows, never for test rows.
    BestF1,
    /// Nowhere: the likeliest label, as no label is more important than another. Precision, recall and F1 are means
    /// over the labels then.
    Likeliest,
}

impl From<Option<f64>> for Threshold {
    /// A threshold that was chosen before; without one the likeliest label.
    fn from(chosen: Option<f64>) -> Self {
        chosen.map_or(Self::Likeliest, Self::Fixed)
    }
}

impl Scores {
    /// Scores `probabilities` (N, num_labels) against `labels` (N).
    ///
    /// `positive` is the label of interest; without `intervals_seed`, which draws the bootstrap resamples, there
    /// are no intervals, as in the many evaluations during training.
    /// Errors: no rows, fewer than two labels, lengths that differ, a label outside the names, a value that is
    /// not a probability.
    pub fn compute(
        labels: &[u32],
        probabilities: &[Vec<f64>],
        label_names: &[String],
        positive: usize,
        threshold: Threshold,
        intervals_seed: Option<u64>,
    ) -> Result<Self> {
        check(labels, probabilities, label_names, positive)?;
        let threshold = match threshold {
            _ if label_names.len() != 2 => None,
            Threshold::Likeliest => None,
            Threshold::Fixed(threshold) => Some(threshold),
            Threshold::BestF1 => {
                let of_positive = column(probabilities, positive);
                Some(best_f1_threshold(&is_label(labels, positive), &of_positive).threshold)
            }
        };
        let rows = Rows::new(labels, probabilities, label_names.len(), positive, threshold);
        Ok(Self::of(&rows, label_names, positive, threshold, intervals_seed))
    }

    /// Scores of rows whose answers are given: predicted by `threshold`, or by several of which it is the mean.
    pub fn of(
        rows: &Rows<'_>,
        label_names: &[String],
        positive: usize,
        threshold: Option<f64>,
        intervals_seed: Option<u64>,
    ) -> Self {
        let once = vec![1; rows.len()];
        let (matrix, headline) = (rows.confusion(&once), rows.headline(&once));
        let of_resample = |weights: &[u32]| rows.headline(weights).values();
        let intervals = intervals_seed.map(|seed| bootstrap::intervals(rows.len(), seed, of_resample));
        Self {
            loss: headline.loss,
            accuracy: headline.accuracy,
            precision: headline.class.precision,
            recall: headline.class.recall,
            f1: headline.class.f1,
            mcc: headline.mcc,
            balanced_accuracy: headline.balanced_accuracy,
            roc_auc: headline.roc_auc,
            pr_auc: headline.pr_auc,
            counts: matrix.one_versus_rest(positive),
            threshold,
            majority_accuracy: matrix.majority_accuracy(),
            macro_f1: headline.macro_f1,
            weighted_f1: matrix.weighted_average().f1,
            per_class: label_names
                .iter()
                .enumerate()
                .map(|(id, name)| label_scores(&matrix, id, name))
                .collect(),
            confusion: matrix.rows(),
            ci: intervals.map(|intervals| estimates(headline.values(), intervals)).unwrap_or_default(),
        }
    }
}

/// The scores that get an interval.
pub(super) struct Headline {
    loss: f64,
    accuracy: f64,
    class: ClassScores,
    mcc: f64,
    balanced_accuracy: f64,
    macro_f1: f64,
    roc_auc: Option<f64>,
    pr_auc: Option<f64>,
}

/// Number of scores that get an interval.
pub const NUM_HEADLINE: usize = 10;

/// Their names, as in the stored results.
pub const HEADLINE_NAMES: [&str; NUM_HEADLINE] = [
    "loss",
    "accuracy",
    "precision",
    "recall",
    "f1",
    "mcc",
    "balanced_accuracy",
    "macro_f1",
    "roc_auc",
    "pr_auc",
];

impl Headline {
    pub(super) fn values(&self) -> [Option<f64>; NUM_HEADLINE] {
        [
            Some(self.loss),
            Some(self.accuracy),
            Some(self.class.precision),
            Some(self.class.recall),
            Some(self.class.f1),
            Some(self.mcc),
            Some(self.balanced_accuracy),
            Some(self.macro_f1),
            self.roc_auc,
            self.pr_auc,
        ]
    }
}

/// Answered rows as every resample reads them: predictions made and rankings sorted once.
pub struct Rows<'a> {
    labels: &'a [u32],
    predictions: Vec<u32>,
    nats: Vec<f64>,
    num_labels: usize,
    /// The label that precision, recall and F1 are of; none where they are means over the labels.
    positive: Option<usize>,
    rankings: Vec<Ranking>,
}

impl<'a> Rows<'a> {
    /// Takes `labels` (N) and `probabilities` (N, num_labels) that [`Scores::compute`] would take; `positive` is
    /// predicted at `threshold`, without one the likeliest label is.
    pub fn new(
        labels: &'a [u32],
        probabilities: &[Vec<f64>],
        num_labels: usize,
        positive: usize,
        threshold: Option<f64>,
    ) -> Self {
        let predict = |row: &Vec<f64>| predict_label(row, positive, threshold) as u32;
        let predictions = probabilities.iter().map(predict).collect();
        Self::answered(labels, probabilities, predictions, num_labels, threshold.map(|_| positive))
    }

    /// The same with the label predicted for each row (N); precision, recall and F1 are of `positive`, without one
    /// means over the labels.
    pub fn answered(
        labels: &'a [u32],
        probabilities: &[Vec<f64>],
        predictions: Vec<u32>,
        num_labels: usize,
        positive: Option<usize>,
    ) -> Self {
        let ranked = positive.map_or(0..num_labels, |positive| positive..positive + 1);
        let ranking = |label| Ranking::new(&is_label(labels, label), &column(probabilities, label));
        Self {
            labels,
            predictions,
            nats: nats(labels, probabilities),
            num_labels,
            positive,
            rankings: ranked.map(ranking).collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether each row is answered rightly.
    pub(super) fn right(&self) -> impl Iterator<Item = bool> + '_ {
        self.labels.iter().zip(&self.predictions).map(|(label, prediction)| label == prediction)
    }

    /// Each score of [`HEADLINE_NAMES`] on all rows, None where it is undefined.
    pub fn scores(&self) -> [Option<f64>; NUM_HEADLINE] {
        self.headline(&vec![1; self.len()]).values()
    }

    fn confusion(&self, weights: &[u32]) -> ConfusionMatrix {
        let mut matrix = ConfusionMatrix::new(self.num_labels);
        for ((&label, &prediction), &times) in self.labels.iter().zip(&self.predictions).zip(weights) {
            matrix.add(label, prediction, u64::from(times));
        }
        matrix
    }

    pub(super) fn headline(&self, weights: &[u32]) -> Headline {
        let matrix = self.confusion(weights);
        let nats = self.nats.iter().zip(weights).map(|(nats, &times)| nats * f64::from(times));
        let mean = |area: fn(&Ranking, &[u32]) -> Option<f64>| {
            let sum: Option<f64> = self.rankings.iter().map(|ranking| area(ranking, weights)).sum();
            sum.map(|sum| sum / self.rankings.len() as f64)
        };
        Headline {
            loss: nats.sum::<f64>() / weights.iter().sum::<u32>() as f64,
            accuracy: matrix.accuracy(),
            class: match self.positive {
                Some(positive) => matrix.one_versus_rest(positive).scores(),
                None => matrix.macro_average(),
            },
            mcc: matrix.mcc(),
            balanced_accuracy: matrix.balanced_accuracy(),
            macro_f1: matrix.macro_average().f1,
            roc_auc: mean(Ranking::roc_auc),
            pr_auc: mean(Ranking::pr_auc),
        }
    }
}

/// -ln p(true label) of each row. A probability of 0 counts as the smallest f64 step, 2.2e-16, as in
/// scikit-learn's `log_loss`: one row must not make the mean infinite.
fn nats(labels: &[u32], probabilities: &[Vec<f64>]) -> Vec<f64> {
    let rows = labels.iter().zip(probabilities);
    rows.map(|(&label, row)| -row[label as usize].max(f64::EPSILON).ln()).collect()
}

fn label_scores(matrix: &ConfusionMatrix, label: usize, name: &str) -> LabelScores {
    let ClassScores { precision, recall, f1 } = matrix.one_versus_rest(label).scores();
    LabelScores { label: name.to_owned(), precision, recall, f1, support: matrix.support(label) }
}

fn estimates(
    values: [Option<f64>; NUM_HEADLINE],
    intervals: [Option<[f64; 2]>; NUM_HEADLINE],
) -> BTreeMap<String, Estimate> {
    let named = HEADLINE_NAMES.iter().zip(values.into_iter().zip(intervals));
    let defined = named.filter_map(|(name, (value, ci95))| {
        Some((name.to_string(), Estimate { value: value?, ci95: ci95? }))
    });
    defined.collect()
}

fn is_label(labels: &[u32], label: usize) -> Vec<bool> {
    labels.iter().map(|&own| own as usize == label).collect()
}

fn column(probabilities: &[Vec<f64>], label: usize) -> Vec<f64> {
    probabilities.iter().map(|row| row[label]).collect()
}

fn check(labels: &[u32], probabilities: &[Vec<f64>], label_names: &[String], positive: usize) -> Result<()> {
    let num_labels = label_names.len();
    if num_labels < 2 || positive >= num_labels {
        return Err(Error::data(format!(
            "{num_labels} labels with label {positive} as the positive one; need two or more"
        )));
    }
    if labels.is_empty() || labels.len() != probabilities.len() {
        return Err(Error::data(format!(
            "{} labels and {} rows of probabilities; need equally many and at least one",
            labels.len(),
            probabilities.len()
        )));
    }
    for (row, (&label, values)) in labels.iter().zip(probabilities).enumerate() {
        if label as usize >= num_labels || values.len() != num_labels {
            return Err(Error::data(format!(
                "row {row}: label {label} with {} probabilities, but there are {num_labels} labels",
                values.len()
            )));
        }
        // A rounding error above 1 is a probability still; NaN fails the test too.
        if let Some(value) = values.iter().find(|value| !(0.0..=1.0 + 1e-6).contains(*value)) {
            return Err(Error::data(format!(
                "row {row}: {value} is not a probability; apply softmax to the logits"
            )));
        }
    }
    Ok(())
}
