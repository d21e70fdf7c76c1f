//! What `train data inspect` finds in a labelled file.

use std::path::PathBuf;

use serde::Serialize;

use super::audit::Overlap;
use crate::metrics::stats;

/// Classes, lengths, repeats and traces of a conversion that went wrong.
#[derive(Clone, Debug, Serialize)]
pub struct InspectResults {
    /// The file.
    pub file: PathBuf,
    /// Rows in it.
    pub rows: usize,
    /// One entry per label, in label order.
    pub classes: Vec<ClassSummary>,
    /// Rows that repeat earlier ones.
    pub repeats: RepeatSummary,
    /// Rows with `&lt;`, `&gt;` or `&amp;`, which may give a label away.
    pub with_html_entities: usize,
    /// Rows with U+FFFD: an earlier conversion lost characters.
    pub with_replacement_characters: usize,
    /// Rows with control characters that are no white space.
    pub with_control_characters: usize,
    /// Lengths in tokens, where a tokenizer was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenSummary>,
}

/// Rows of one label.
#[derive(Clone, Debug, Serialize)]
pub struct ClassSummary {
    /// Its name.
    pub label: String,
    /// Rows that have it.
    pub rows: usize,
    /// Of all rows, 0 to 1.
    pub share: f64,
    /// Of the texts, in characters.
    pub characters: LengthSummary,
    /// Of the texts, in words between white space.
    pub words: LengthSummary,
}

/// Rows that repeat earlier ones, each under the closest kind.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RepeatSummary {
    /// Byte for byte.
    pub exact: u64,
    /// But for case and white space.
    pub normalised: u64,
    /// But for digits too.
    pub masked: u64,
    /// Jaccard similarity of the threshold or more.
    pub near: u64,
}

/// Lengths in tokens.
#[derive(Clone, Debug, Serialize)]
pub struct TokenSummary {
    /// Of the texts as fine-tuning encodes them.
    pub lengths: LengthSummary,
    /// Length that rows are cut to.
    pub seq_len: usize,
    /// Rows that are longer.
    pub truncated: usize,
}

/// Three lengths that say how a list of them is spread; none of an empty list.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LengthSummary {
    /// Middle one.
    pub median: Option<usize>,
    /// That 95 % do not exceed.
    pub p95: Option<usize>,
    /// Longest.
    pub max: Option<usize>,
}

impl LengthSummary {
    /// Of these lengths.
    pub fn of(mut lengths: Vec<usize>) -> Self {
        lengths.sort_unstable();
        let [median, p95, max] = [0.5, 0.95, 1.0].map(|share| stats::nearest_rank(&lengths, share));
        Self { median, p95, max }
    }
}

impl From<&Overlap> for RepeatSummary {
    fn from(found: &Overlap) -> Self {
        Self { exact: found.exact, normalised: found.normalised, masked: found.masked, near: found.near }
    }
}
