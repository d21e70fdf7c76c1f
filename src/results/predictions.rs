//! `predictions.jsonl`: what a model or baseline said about each row, one JSON line a row.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::lines::write_lines;
use crate::error::{Error, Result};
use crate::files;
use crate::metrics::calibration::Answered;
use crate::metrics::scores::Rows;
use crate::metrics::{Scores, Threshold, predict_label};

/// Answers to rows that are always in the same order: those of the file, or of the split.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// Name of each label.
    pub label_names: Vec<String>,
    /// True label of each row.
    pub labels: Vec<u32>,
    /// Probability of each label for each row, (rows, num_labels).
    pub probabilities: Vec<Vec<f64>>,
    /// SHA-256 of each text, to tell whether two files are about the same rows.
    pub text_sha256: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    id: usize,
    label: String,
    probability: Map<String, Value>,
    predicted: String,
    text_sha256: String,
}

impl Predictions {
    /// Writes the file, with the label predicted for each row: `positive` at `threshold` or above, without one the
    /// likeliest.
    pub fn write(&self, path: &Path, positive: usize, threshold: Option<f64>) -> Result<()> {
        let line = |(id, probabilities): (usize, &Vec<f64>)| {
            let named = self.label_names.iter().zip(probabilities);
            Line {
                id,
                label: self.label_names[self.labels[id] as usize].clone(),
                probability: named.map(|(name, value)| (name.clone(), json!(value))).collect(),
                predicted: self.label_names[predict_label(probabilities, positive, threshold)].clone(),
                text_sha256: self.text_sha256[id].clone(),
            }
        };
        write_lines(path, self.probabilities.iter().enumerate().map(line))
    }

    /// Reads the file.
    ///
    /// Errors: missing (66); a line that is not as `write` leaves it (65), with its number.
    pub fn read(path: &Path) -> Result<Self> {
        let text = files::read_text(path)?;
        let mut found = Self {
            label_names: Vec::new(),
            labels: Vec::new(),
            probabilities: Vec::new(),
            text_sha256: Vec::new(),
        };
        for (number, line) in text.lines().enumerate() {
            let damaged = |why: &str| {
                Error::data(format!(
                    "{}:{}: {why}; remove its folder and run it again",
                    path.display(),
                    number + 1
                ))
            };
            let line: Line = serde_json::from_str(line).map_err(|cause| damaged(&cause.to_string()))?;
            if found.label_names.is_empty() {
                found.label_names = line.probability.keys().cloned().collect();
            }
            let label = found.label_names.iter().position(|name| *name == line.label);
            let values: Option<Vec<f64>> =
                found.label_names.iter().map(|name| line.probability.get(name)?.as_f64()).collect();
            let label = label.ok_or_else(|| damaged("the label has no probability"))?;
            found.labels.push(label as u32);
            found.probabilities.push(values.ok_or_else(|| damaged("a label has no probability"))?);
            found.text_sha256.push(line.text_sha256);
        }
        if found.labels.is_empty() {
            return Err(Error::data(format!(
                "{} holds no row; remove its folder and run it again",
                path.display()
            )));
        }
        Ok(found)
    }

    /// Scores of these answers; `intervals_seed` draws the resamples of the intervals.
    ///
    /// Errors: as [`Scores::compute`].
    pub fn scores(&self, positive: usize, threshold: Threshold, intervals_seed: u64) -> Result<Scores> {
        let (labels, probabilities, names) = (&self.labels, &self.probabilities, &self.label_names);
        Scores::compute(labels, probabilities, names, positive, threshold, Some(intervals_seed))
    }

    /// Number of the label with this name, or 0.
    pub fn label(&self, name: &str) -> usize {
        self.label_names.iter().position(|known| known == name).unwrap_or(0)
    }

    /// Whether `other` is about the same texts with the same labels.
    pub fn same_rows(&self, other: &Self) -> bool {
        self.text_sha256 == other.text_sha256
            && self.labels == other.labels
            && self.label_names == other.label_names
    }

    /// The rows whose numbers are in `kept`, in that order.
    pub fn only(&self, kept: &[usize]) -> Self {
        Self {
            label_names: self.label_names.clone(),
            labels: kept.iter().map(|&row| self.labels[row]).collect(),
            probabilities: kept.iter().map(|&row| self.probabilities[row].clone()).collect(),
            text_sha256: kept.iter().map(|&row| self.text_sha256[row].clone()).collect(),
        }
    }

    /// For each row whether it has the label, and the probability of it.
    pub fn one_label(&self, label: usize) -> (Vec<bool>, Vec<f64>) {
        let positives = self.labels.iter().map(|own| *own as usize == label).collect();
        (positives, self.probabilities.iter().map(|row| row[label]).collect())
    }

    /// As calibration is measured.
    pub fn answered(&self) -> Answered<'_> {
        (&self.labels, &self.probabilities)
    }

    /// As the metrics read them.
    pub fn rows(&self, positive: usize, threshold: Option<f64>) -> Rows<'_> {
        Rows::new(&self.labels, &self.probabilities, self.label_names.len(), positive, threshold)
    }
}
