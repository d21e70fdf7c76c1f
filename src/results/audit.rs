//! What an audit for overlapping texts found.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What an audit for overlapping texts found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AuditResults {
    /// Jaccard similarity from which two texts count as nearly the same.
    pub threshold: f64,
    /// Part to its number of rows; of a corpus the number of documents.
    pub rows: BTreeMap<String, u64>,
    /// Which parts have rows in common, the most serious pair first.
    pub overlaps: Vec<Overlap>,
    /// Rows of the test part that are exact or near duplicates of rows in another part.
    pub test_rows: Vec<usize>,
    /// Rows of the validation part that are duplicates of training rows or of text in the corpus.
    #[serde(default)]
    pub validation_rows: Vec<usize>,
    /// Whether these rows are left out of scores and choices.
    #[serde(default)]
    pub dropped: bool,
    /// Whether the model was pre-trained on text that is not known, or cannot be read here.
    #[serde(default)]
    pub unknown_text: bool,
    /// SHA-256 over the labelled rows searched and where they were sought.
    #[serde(default)]
    pub made_from: String,
}

/// Rows of one part that are duplicates of rows in another, or, with the same name twice, of earlier rows in the same
/// part.
///
/// Each row counts once, under the closest kind found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Overlap {
    /// Whose rows.
    pub part: String,
    /// Part that holds their duplicates.
    pub with: String,
    /// Byte for byte.
    pub exact: u64,
    /// But for case and white space.
    pub normalised: u64,
    /// But for digits too.
    pub masked: u64,
    /// Jaccard similarity of the threshold or more.
    pub near: u64,
    /// The first few.
    pub examples: Vec<OverlapExample>,
}

/// Two texts that are too close.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OverlapExample {
    /// `exact`, `normalised`, `masked` or `near`.
    pub kind: String,
    /// Row of the part, from 0.
    pub row: usize,
    /// Text of the row.
    pub text: String,
    /// What it was found to be.
    pub other: String,
    /// 1 for all kinds but `near`.
    pub jaccard: f64,
}

impl AuditResults {
    /// Test rows of `rows` that duplicate no other; None where that is all of them or none, or where the others are left
    /// out of every score already.
    pub fn clean_rows(&self, rows: usize) -> Option<Vec<usize>> {
        if self.dropped
            || self.test_rows.is_empty()
            || self.rows.get("test").is_some_and(|all| *all != rows as u64)
        {
            return None;
        }
        let clean: Vec<usize> = (0..rows).filter(|row| !self.test_rows.contains(row)).collect();
        (!clean.is_empty()).then_some(clean)
    }
}

impl Overlap {
    /// Rows of any kind.
    pub fn total(&self) -> u64 {
        self.exact + self.normalised + self.masked + self.near
    }
}
