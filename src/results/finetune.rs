//! What a fine-tuning found out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::audit::AuditResults;
use super::facts::RunFacts;
use super::log::Log;
use super::mistakes::Mistake;
use super::predictions::Predictions;
use crate::error::Result;
use crate::metrics::calibration::Calibration;
use crate::metrics::combination::Combination;
use crate::metrics::decision::OperatingPoint;
use crate::metrics::learning::LearningCurve;
use crate::metrics::scores::LabelScores;
use crate::metrics::{Scores, Verdict, stats};
use crate::run_dir::read_json;

/// A finished fine-tuning as a value.
#[derive(Clone, Debug)]
pub struct Finetuned {
    /// Its run directory.
    pub dir: PathBuf,
    /// How it was run.
    pub facts: RunFacts,
    /// `results.json`.
    pub results: FinetuneResults,
    /// `predictions.jsonl`: the answers to the test rows.
    pub predictions: Predictions,
    /// `validation_predictions.jsonl`; none in runs of versions that did not keep them.
    pub validation_predictions: Option<Predictions>,
    /// `mistakes.jsonl`.
    pub mistakes: Vec<Mistake>,
    /// `metrics.jsonl`, by what is drawn of it.
    pub log: Log,
}

/// `results.json` of `finetune`; its objects are flat, the groups are for the reader of the code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FinetuneResults {
    /// `finetune`.
    pub phase: String,
    /// Where the weights came from: `scratch`, a path or a name on the Hub.
    pub init_from: String,
    /// Seed of the data order, the dropout and the new head.
    pub seed: u64,
    /// Label that precision, recall and the threshold are about.
    pub positive: String,
    /// How well it answers.
    #[serde(flatten)]
    pub scores: FinetuneScores,
    /// Where its best weights lie and how far it overfitted.
    #[serde(default, rename = "course")]
    pub learning: Option<LearningCurve>,
    /// Rows, labels and lengths of training, validation and test.
    #[serde(default)]
    pub parts: Vec<PartSummary>,
    /// Rows that were seen before.
    #[serde(flatten)]
    pub leakage: Leakage,
    /// Whether it is fit for use and why.
    pub verdict: Verdict,
    /// What the training was given and took.
    #[serde(flatten)]
    pub training: TrainingFacts,
}

/// How well a classifier answers, at the threshold chosen on validation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FinetuneScores {
    /// On the rows that the threshold and the weights were chosen by.
    pub validation: Scores,
    /// On rows that chose nothing.
    pub test: Scores,
    /// Scores of each label on test.
    pub per_class: Vec<LabelScores>,
    /// Thresholds by several rules, chosen on validation; empty with more than two labels.
    #[serde(default)]
    pub operating_points: Vec<OperatingPoint>,
    /// Exponents of the two where the n-grams answer beside the transformer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with_ngrams: Option<Combination>,
    /// How far the probabilities can be believed.
    #[serde(default)]
    pub calibration: Option<Calibration>,
}

/// Rows that were seen before, and what the scores are without them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Leakage {
    /// What was found where; none where nobody looked.
    pub audit: Option<AuditResults>,
    /// `test` without the rows that duplicate others; none where there are none.
    pub clean: Option<Scores>,
}

/// What a training was given and took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrainingFacts {
    /// Rows trained on.
    pub train_rows: usize,
    /// Mean training loss between the last two evaluations, nats per row.
    pub train_loss: Option<f64>,
    /// Longest text in tokens; 0 where an older version did not say.
    #[serde(default)]
    pub seq_len: usize,
    /// Windows that a longer text is read in at most; 0 where an older version did not say.
    #[serde(default)]
    pub windows: usize,
    /// Peak learning rate of the body.
    #[serde(default)]
    pub learning_rate: f64,
    /// Peak learning rate of the head.
    #[serde(default)]
    pub head_learning_rate: f64,
    /// Optimizer steps.
    pub steps: u64,
    /// Step whose weights the model has.
    pub best_step: u64,
    /// Tokens trained on, padding left out.
    pub tokens: u64,
    /// Scalars of the model.
    pub parameters: usize,
    /// Scalars that were trained.
    pub trainable_parameters: usize,
    /// Share of padding that equally long rows would have in the training batches, 0 to 1; it is left out.
    pub padded_share: f64,
    /// Share of texts cut to `train.seq_len`, 0 to 1.
    pub truncated_share: f64,
    /// Tokens per second of training.
    pub tokens_per_sec: f64,
    /// Most memory held, bytes.
    pub peak_memory_bytes: u64,
    /// Seconds of training.
    pub wall_secs: f64,
}

/// Rows of one part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartSummary {
    /// `train`, `validation` or `test`.
    pub part: String,
    /// Number of rows.
    pub rows: usize,
    /// Rows by label.
    pub labels: BTreeMap<String, usize>,
    /// Middle length in tokens, the end of text included.
    pub median_tokens: usize,
    /// Length that 95 % of the rows do not exceed.
    pub p95_tokens: usize,
    /// Longest, after cutting.
    pub max_tokens: usize,
    /// Rows cut to `train.seq_len`.
    pub truncated: usize,
}

impl Finetuned {
    /// Reads the finished run at `path`.
    ///
    /// Errors: results or predictions missing (66), damaged or of another kind of run (65).
    pub fn load(path: &Path) -> Result<Self> {
        Ok(Self {
            dir: path.into(),
            facts: RunFacts::read(path),
            results: read_json(path, "results.json")?,
            predictions: Predictions::read(&path.join("predictions.jsonl"))?,
            validation_predictions: Predictions::read(&path.join("validation_predictions.jsonl")).ok(),
            mistakes: Mistake::read_all(path),
            log: Log::read(path),
        })
    }
}

impl PartSummary {
    /// Of the rows with these `labels` and these `lengths` in tokens; `label_names` are those of all parts.
    pub fn of(
        part: &str,
        label_names: &[String],
        labels: &[u32],
        mut lengths: Vec<usize>,
        truncated: usize,
    ) -> Self {
        let count = |label: usize| labels.iter().filter(|own| **own as usize == label).count();
        lengths.sort_unstable();
        let length = |share: f64| stats::nearest_rank(&lengths, share).unwrap_or(0);
        Self {
            part: part.into(),
            rows: labels.len(),
            labels: label_names
                .iter()
                .enumerate()
                .map(|(label, name)| (name.clone(), count(label)))
                .collect(),
            median_tokens: length(0.5),
            p95_tokens: length(0.95),
            max_tokens: length(1.0),
            truncated,
        }
    }
}
