//! The runs of a comparison, read back from their directories.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::predictions::Predictions;
use crate::error::{Error, Result};
use crate::metrics::Scores;
use crate::metrics::calibration::Calibration;
use crate::metrics::course::Course;
use crate::metrics::decision::OperatingPoint;
use crate::run_dir::read_json;

/// Every row of the table: an arm or a baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arm {
    /// Fine-tuned from the pre-trained weights.
    Pretrained,
    /// The same from random weights.
    Scratch,
    /// From random weights, with the tokens of pre-training as further fine-tuning.
    ScratchMatched,
    /// Character n-grams with a linear support vector machine.
    CharSvm,
    /// Character n-grams with logistic regression.
    CharNgram,
    /// Word n-grams with logistic regression.
    WordNgram,
    /// Class shares.
    Majority,
}

impl Arm {
    /// All, in the order of the tables.
    pub const ALL: [Arm; 7] = [
        Arm::Pretrained,
        Arm::Scratch,
        Arm::ScratchMatched,
        Arm::CharSvm,
        Arm::CharNgram,
        Arm::WordNgram,
        Arm::Majority,
    ];

    /// Those that are no transformer.
    pub const BASELINES: [Arm; 4] = [Arm::CharSvm, Arm::CharNgram, Arm::WordNgram, Arm::Majority];

    /// Key in results.json.
    pub fn key(self) -> &'static str {
        match self {
            Arm::Pretrained => "pretrained",
            Arm::Scratch => "scratch",
            Arm::ScratchMatched => "scratch_matched",
            Arm::CharSvm => "char_svm",
            Arm::CharNgram => "char_ngram",
            Arm::WordNgram => "word_ngram",
            Arm::Majority => "majority",
        }
    }

    /// Name in tables and sentences.
    pub fn name(self) -> &'static str {
        match self {
            Arm::Pretrained => "pre-trained",
            Arm::Scratch => "from scratch",
            Arm::ScratchMatched => "from scratch, longer",
            Arm::CharSvm => "character n-grams, SVM",
            Arm::CharNgram => "character n-grams, logistic",
            Arm::WordNgram => "word n-grams, logistic",
            Arm::Majority => "commonest label",
        }
    }

    /// Whether it is no transformer.
    pub fn is_baseline(self) -> bool {
        Self::BASELINES.contains(&self)
    }
}

/// Where a comparison keeps one run, below its own directory.
pub fn cell_folder(arm: Arm, budget: &str, seed: u64) -> PathBuf {
    let name = format!("{}-{budget}-seed{seed}", arm.key());
    if arm.is_baseline() { Path::new("baselines").join(name) } else { name.into() }
}

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
