//! What a run is judged by: plain f64 math on host data, every score from pooled counts over all rows.
//!
//! Layer 0. Knows no model, tensor or file; the callers hand in labels, probabilities, nats and texts.

pub mod bleu;
pub mod bootstrap;
pub mod calibration;
pub mod classification;
pub mod combination;
pub mod cross_validation;
pub mod curves;
pub mod decision;
pub mod efficiency;
pub mod language;
pub mod learning;
pub mod paired;
pub mod power;
pub mod scores;
pub mod stats;
pub mod verdict;

pub use bleu::Bleu;
pub use classification::{BinaryCounts, ClassScores, ConfusionMatrix, predict_label};
pub use language::LanguageScores;
pub use scores::{Scores, Threshold};
pub use verdict::{History, Verdict};

#[cfg(test)]
mod tests;
