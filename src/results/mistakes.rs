//! `mistakes.jsonl`: the most confident wrong answers, each beside the training text nearest to it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::lines::{read_lines, write_lines};
use crate::error::Result;

/// A wrong answer on test, one line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// Row of the test part, from 0.
    pub id: usize,
    /// True label.
    pub label: String,
    /// Label predicted.
    pub predicted: String,
    /// Probability of the predicted label.
    pub probability: f64,
    /// The text.
    pub text: String,
    /// The training text nearest to it; none where they share no characters in a row.
    pub nearest_text: Option<String>,
    /// Its label.
    pub nearest_label: Option<String>,
    /// Cosine of the character n-grams of the two, 0 to 1.
    pub nearest_similarity: f64,
}

impl Mistake {
    /// Writes the file below `path`; without mistakes there is none.
    pub fn write_all(path: &Path, mistakes: &[Self]) -> Result<()> {
        if mistakes.is_empty() {
            return Ok(());
        }
        write_lines(&path.join("mistakes.jsonl"), mistakes)
    }

    /// Those of the run at `path`; none where there is no such file.
    pub fn read_all(path: &Path) -> Vec<Self> {
        read_lines(&path.join("mistakes.jsonl"))
    }
}
