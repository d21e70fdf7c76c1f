//! The runs of a comparison, read back from their directories.

use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::metrics::Scores;
use crate::metrics::calibration::Calibration;
use crate::metrics::course::Course;
use crate::metrics::decision::OperatingPoint;
use crate::results::Predictions;
use crate::run_dir::read_json;

/// One finished run or baseline.
pub struct Cell {
    /// Its answers to the test rows.
    pub predictions: Predictions,
    /// What stands in its results.
    pub results: CellResults,
}

/// What the comparison needs of `results.json`, of fine-tunings and baselines alike.
#[derive(Clone, Debug, Deserialize)]
pub struct CellResults {
    /// Label that precision, recall and the threshold are about.
    pub positive: String,
    /// Rows trained on.
    pub train_rows: usize,
    /// Scores at the threshold chosen on validation.
    pub test: Scores,
    /// Tokens trained on, padding left out.
    #[serde(default)]
    pub tokens: u64,
    /// Seconds of training.
    pub wall_secs: f64,
    /// Of fine-tunings.
    #[serde(default)]
    pub course: Option<Course>,
    /// Of fine-tunings.
    #[serde(default)]
    pub calibration: Option<Calibration>,
    /// Of fine-tunings with two labels.
    #[serde(default)]
    pub operating_points: Vec<OperatingPoint>,
}

impl Cell {
    /// Reads the run at `folder`.
    ///
    /// Errors: not there (66), damaged (65).
    pub fn read(folder: &Path) -> Result<Self> {
        let predictions = Predictions::read(&folder.join("predictions.jsonl"))?;
        Ok(Self { predictions, results: read_json(folder, "results.json")? })
    }

    /// Errors: answers to other rows than those of `first` (65).
    pub fn check_same_rows(&self, first: &Self, folder: &Path) -> Result<()> {
        let (ours, theirs) = (&self.predictions, &first.predictions);
        let same = ours.text_sha256 == theirs.text_sha256 && ours.labels == theirs.labels;
        if same && ours.label_names == theirs.label_names {
            return Ok(());
        }
        let why = "its test rows are not those of the other runs; remove it and go on with --resume";
        Err(Error::data(format!("{}: {why}", folder.display())))
    }
}
