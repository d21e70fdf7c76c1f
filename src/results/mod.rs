//! What runs find out: `results.json` of each command and the predictions behind it.
//!
//! Layer 0.

mod arm;
mod predictions;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use arm::{Arm, cell_folder};
pub use predictions::Predictions;

use crate::metrics::calibration::Calibration;
use crate::metrics::course::Course;
use crate::metrics::decision::OperatingPoint;
use crate::metrics::efficiency::LabelRatio;
use crate::metrics::paired::Difference;
use crate::metrics::scores::LabelScores;
use crate::metrics::{LanguageScores, Scores, Verdict};

/// Results of `pretrain`, and of `evaluate` on raw text.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PretrainResults {
    /// `pretrain`.
    pub phase: String,
    /// Where the weights came from.
    pub init_from: String,
    /// Loss, perplexity and bits per byte of the validation part.
    #[serde(flatten)]
    pub validation: LanguageScores,
    /// Mean training loss since the evaluation before the last, nats per token.
    pub train_loss: Option<f64>,
    /// Optimizer steps.
    pub steps: u64,
    /// Step whose weights were kept.
    pub best_step: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Tokens of the training part.
    pub train_tokens: u64,
    /// Bytes of text per token of the training part.
    pub bytes_per_token: f64,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Scalars of the model.
    pub parameters: usize,
    /// Trained tokens per second of training.
    pub tokens_per_sec: f64,
    /// Share of this machine's own matrix-product rate, 0 to 1.
    pub mfu: f64,
    /// Most memory held, bytes.
    pub peak_memory_bytes: u64,
    /// Seconds of training.
    pub wall_secs: f64,
    /// Corpus BLEU of greedy continuations of held-out prompts, 0 to 100.
    pub bleu: Option<f64>,
    /// How BLEU was computed.
    pub bleu_signature: Option<String>,
}

/// Results of `finetune`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FinetuneResults {
    /// `finetune`.
    pub phase: String,
    /// Where the weights came from.
    pub init_from: String,
    /// Seed.
    pub seed: u64,
    /// Label that precision, recall and the threshold are about.
    pub positive: String,
    /// Scores at the threshold chosen here.
    pub validation: Scores,
    /// Scores at the same threshold.
    pub test: Scores,
    /// Scores of each label on test.
    pub per_class: Vec<LabelScores>,
    /// Thresholds by several rules, chosen on validation; empty with more than two labels.
    #[serde(default)]
    pub operating_points: Vec<OperatingPoint>,
    /// How far the probabilities can be believed.
    #[serde(default)]
    pub calibration: Option<Calibration>,
    /// Where its best weights lie and how far it overfitted.
    #[serde(default)]
    pub course: Option<Course>,
    /// Rows, labels and lengths of training, validation and test.
    #[serde(default)]
    pub parts: Vec<PartSummary>,
    /// What stands where it should not.
    #[serde(default)]
    pub audit: Option<AuditResults>,
    /// `test` without the rows that the audit found elsewhere.
    #[serde(default)]
    pub clean: Option<Scores>,
    /// Plain words.
    pub verdict: Verdict,
    /// Rows trained on.
    pub train_rows: usize,
    /// Training loss before the last evaluation, nats per row.
    pub train_loss: Option<f64>,
    /// Optimizer steps.
    pub steps: u64,
    /// Step whose weights were kept.
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

/// A wrong answer on test, one line of `mistakes.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// Row of the test part, from 0.
    pub id: usize,
    /// True label.
    pub label: String,
    /// Label called.
    pub predicted: String,
    /// Probability of the label called.
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

/// Results of a baseline inside a comparison.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BaselineResults {
    /// `baseline`.
    pub phase: String,
    /// What was chosen on validation, in words.
    pub setting: String,
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

/// One score over seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Mean over seeds.
    pub mean: f64,
    /// Sample standard deviation; 0 with one seed.
    pub std: f64,
    /// Of the mean: percentile bootstrap over rows and seeds.
    pub ci95: [f64; 2],
    /// Values in the order of the seeds.
    pub per_seed: Vec<f64>,
}

/// Scores by name.
pub type ScoreSummaries = BTreeMap<String, Summary>;

/// Scores by label budget, a number or `all`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ByBudget {
    /// Budget to scores.
    pub budgets: BTreeMap<String, ScoreSummaries>,
}

/// Differences by label budget.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PairedByBudget {
    /// Budget to score to difference.
    pub budgets: BTreeMap<String, BTreeMap<String, Difference>>,
}

/// What the runs say, on one choice of test rows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tables {
    /// Test rows the scores are of.
    pub test_rows: usize,
    /// `pretrained` and `scratch`, and `scratch_matched` where asked for.
    pub arms: BTreeMap<String, ByBudget>,
    /// `majority`, `char_ngram` and the others.
    pub baselines: BTreeMap<String, ByBudget>,
    /// Pre-trained minus scratch, on the same rows, seed by seed.
    pub paired: PairedByBudget,
    /// Pre-trained minus each other arm or baseline.
    pub paired_with: BTreeMap<String, PairedByBudget>,
    /// How many labels pre-training is worth, by F1.
    pub label_efficiency: Vec<LabelRatio>,
}

/// What an arm was given, as means over seeds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Cost {
    /// Labelled rows.
    pub labels: f64,
    /// Tokens of fine-tuning, padding left out; 0 for baselines.
    pub tokens: f64,
    /// Seconds of fine-tuning or fitting.
    pub wall_secs: f64,
    /// Tokens of pre-training before it.
    pub pretraining_tokens: f64,
    /// Seconds of pre-training before it.
    pub pretraining_secs: f64,
    /// Settings tried on validation for it.
    pub settings_tried: usize,
}

/// Results of `compare`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CompareResults {
    /// `compare`.
    pub phase: String,
    /// Seeds in order.
    pub seeds: Vec<u64>,
    /// Budgets in rising order.
    pub budgets: Vec<String>,
    /// The label that precision, recall and F1 are about.
    pub positive: String,
    /// Scores and differences.
    #[serde(flatten)]
    pub tables: Tables,
    /// The same without the test rows that the audit found elsewhere.
    pub clean: Option<Tables>,
    /// What was found where.
    pub audit: Option<AuditResults>,
    /// Arm to budget to what it was given.
    pub costs: BTreeMap<String, BTreeMap<String, Cost>>,
    /// Arm to budget to how its runs went; baselines have no entry.
    #[serde(default)]
    pub runs: BTreeMap<String, BTreeMap<String, RunMeans>>,
    /// Pre-training loss beside the task's score, where several checkpoints were fine-tuned.
    #[serde(default)]
    pub transfer: Vec<TransferPoint>,
    /// Plain words, the answer first.
    pub verdict: Verdict,
    /// How intervals and p-values were computed.
    pub methods: Vec<String>,
    /// Seconds of the whole comparison.
    pub wall_secs: f64,
}

/// How the runs of an arm and budget went, as means over seeds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RunMeans {
    /// Passes over the training rows.
    pub epochs: f64,
    /// Passes after which the weights kept were reached.
    pub kept_epoch: f64,
    /// Runs whose weights of an earlier evaluation were put back.
    pub restored: usize,
    /// Training loss at the weights kept, nats per row.
    pub train_loss: f64,
    /// Validation loss there, nats per row.
    pub val_loss: f64,
    /// Validation minus training loss at the end, nats per row.
    pub last_gap: f64,
    /// Expected calibration error on test, 0 to 1.
    pub ece: f64,
    /// Temperature fitted on validation; above 1 the model was too sure.
    pub temperature: f64,
    /// Calibration error after it.
    pub ece_tempered: f64,
    /// Rules for the threshold and what each gives on test; empty with more than two labels.
    pub operating_points: Vec<OperatingMeans>,
}

/// What a rule for the threshold gives on test, as means over seeds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct OperatingMeans {
    /// In words.
    pub rule: String,
    /// Whether the runs answer by it.
    pub chosen: bool,
    /// Runs whose validation rows have a threshold that meets it.
    pub met: usize,
    /// Of the thresholds.
    pub threshold: f64,
    /// tp / (tp + fp).
    pub precision: f64,
    /// tp / (tp + fn).
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// False alarms.
    pub false_alarms: f64,
    /// Positive rows missed.
    pub missed: f64,
}

/// One pre-training checkpoint and what fine-tuning made of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransferPoint {
    /// Optimizer steps of pre-training; 0 are random weights.
    pub step: u64,
    /// Validation loss of pre-training, nats per token; none at random weights.
    pub val_loss: Option<f64>,
    /// Budget fine-tuned with.
    pub budget: String,
    /// Test F1 seed by seed.
    pub f1: Vec<f64>,
}

/// What an audit for overlapping texts found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AuditResults {
    /// Jaccard similarity from which two texts count as nearly the same.
    pub threshold: f64,
    /// Part to its number of rows; of a corpus the number of documents.
    pub rows: BTreeMap<String, u64>,
    /// What of which part stands where, strongest first.
    pub overlaps: Vec<Overlap>,
    /// Rows of the test part that stand, exactly or nearly, in another part.
    pub test_rows: Vec<usize>,
    /// Rows of the validation part that stand in training or corpus.
    #[serde(default)]
    pub validation_rows: Vec<usize>,
    /// Whether these rows are left out of scores and choices.
    #[serde(default)]
    pub dropped: bool,
    /// Whether the model was pre-trained on text that is not known, or cannot be read here.
    #[serde(default)]
    pub unknown_text: bool,
    /// Of the labelled rows searched.
    #[serde(default)]
    pub data_sha256: String,
}

/// Rows of one part that stand in another, or, with the same name twice, earlier in the same part.
///
/// Each row counts once, under the closest kind found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Overlap {
    /// Whose rows.
    pub part: String,
    /// Where they stand.
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

impl Overlap {
    /// Rows of any kind.
    pub fn total(&self) -> u64 {
        self.exact + self.normalised + self.masked + self.near
    }
}

impl Summary {
    /// Mean and standard deviation of `per_seed`, with the interval of the mean.
    pub fn of(per_seed: Vec<f64>, ci95: [f64; 2]) -> Self {
        let n = per_seed.len() as f64;
        let mean = per_seed.iter().sum::<f64>() / n;
        let squares: f64 = per_seed.iter().map(|value| (value - mean).powi(2)).sum();
        let std = if per_seed.len() < 2 { 0.0 } else { (squares / (n - 1.0)).sqrt() };
        Self { mean, std, ci95, per_seed }
    }
}
