//! What a model has to beat: the majority class, and linear classifiers on n-grams of characters or words.
//!
//! Layer 1. All give one row of probabilities per text, to be scored like a model's own.

mod linear;
mod ngrams;
mod platt;
mod stored;
mod tfidf;

pub use linear::LinearLoss;
pub use ngrams::{NgramKind, Ngrams, SETTINGS_TRIED};
pub use tfidf::{Features, nearest};

/// Answers every text with the label shares of the training rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Majority {
    shares: Vec<f64>,
}

impl Majority {
    /// Counts the training labels, each below `num_labels`.
    pub fn fit(labels: &[u32], num_labels: usize) -> Self {
        let mut shares = vec![0.0; num_labels];
        for &label in labels {
            shares[label as usize] += 1.0 / labels.len() as f64;
        }
        Self { shares }
    }

    /// The same probabilities `rows` times over: (rows, num_labels).
    pub fn probabilities(&self, rows: usize) -> Vec<Vec<f64>> {
        vec![self.shares.clone(); rows]
    }
}

#[cfg(test)]
mod tests;
