//! What a baseline of a comparison found out.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::predictions::Predictions;
use crate::error::Result;
use crate::metrics::Scores;
use crate::metrics::combination::Combination;
use crate::run_dir::read_json;

/// A fitted baseline, or one combined with a transformer, as a value.
#[derive(Clone, Debug)]
pub struct Baselined {
    /// `results.json`.
    pub results: BaselineResults,
    /// `predictions.jsonl`: its answers to the test rows.
    pub predictions: Predictions,
    /// `validation_predictions.jsonl`: its answers to the validation rows.
    pub validation_predictions: Predictions,
}

/// `results.json` of a baseline.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BaselineResults {
    /// `baseline` or `combined`.
    pub phase: String,
    /// SHA-256 over what it was made from: rows, seed and program; empty where an older version did not say.
    #[serde(default)]
    pub made_from: String,
    /// What was chosen on validation, in words.
    pub setting: String,
    /// Of one combined with a transformer: what it is made of; none where its n-grams are not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<CombinedParts>,
    /// Label that precision, recall and the threshold are about.
    pub positive: String,
    /// Rows fitted on.
    pub train_rows: usize,
    /// Scores at the threshold chosen here.
    pub validation: Scores,
    /// Scores at the same threshold.
    pub test: Scores,
    /// Seconds of fitting, the choice of the setting included.
    pub wall_secs: f64,
}

/// A transformer and n-grams that answer as one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CombinedParts {
    /// Folder of the transformer's run, in the directory of the comparison.
    pub run: String,
    /// Folder of the n-grams, likewise.
    pub ngrams: String,
    /// Exponents of their probabilities.
    pub exponents: Combination,
}

impl Baselined {
    /// Reads what is stored at `path`.
    ///
    /// Errors: missing (66), damaged (65).
    pub fn read(path: &Path) -> Result<Self> {
        let predictions = |name: &str| Predictions::read(&path.join(name));
        Ok(Self {
            results: read_json(path, "results.json")?,
            predictions: predictions("predictions.jsonl")?,
            validation_predictions: predictions("validation_predictions.jsonl")?,
        })
    }
}
