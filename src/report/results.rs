//! What `results.json` holds for each command.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
    /// Share of padding in the training batches, 0 to 1.
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

/// Scores of a baseline.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BaselineResults {
    /// Scores at the threshold chosen here.
    pub validation: Scores,
    /// Scores at the same threshold.
    pub test: Scores,
}

/// One score over seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Mean over seeds.
    pub mean: f64,
    /// Sample standard deviation; 0 with one seed.
    pub std: f64,
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

/// Results of `compare`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CompareResults {
    /// `compare`.
    pub phase: String,
    /// Seeds in order.
    pub seeds: Vec<u64>,
    /// Budgets in rising order.
    pub budgets: Vec<String>,
    /// `pretrained` and `scratch`.
    pub arms: BTreeMap<String, ByBudget>,
    /// `majority` and `char_ngram`.
    pub baselines: BTreeMap<String, ByBudget>,
    /// Pre-trained minus scratch, seed by seed.
    pub paired: PairedByBudget,
    /// Plain words.
    pub verdict: Verdict,
    /// Seconds of the whole comparison.
    pub wall_secs: f64,
}

/// Differences by label budget.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PairedByBudget {
    /// Budget to score to difference.
    pub budgets: BTreeMap<String, BTreeMap<String, Difference>>,
}

/// One score, pre-trained minus scratch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Difference {
    /// Mean over seeds.
    pub difference: f64,
    /// Seed by seed.
    pub per_seed: Vec<f64>,
}

impl Summary {
    /// Mean and standard deviation of `per_seed`.
    pub fn of(per_seed: Vec<f64>) -> Self {
        let n = per_seed.len() as f64;
        let mean = per_seed.iter().sum::<f64>() / n;
        let squares: f64 = per_seed.iter().map(|value| (value - mean).powi(2)).sum();
        let std = if per_seed.len() < 2 { 0.0 } else { (squares / (n - 1.0)).sqrt() };
        Self { mean, std, per_seed }
    }
}
