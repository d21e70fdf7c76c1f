//! What a pre-training found out.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::facts::RunFacts;
use super::lines::{read_lines, write_lines};
use super::log::Log;
use crate::error::Result;
use crate::metrics::LanguageScores;
use crate::run_dir::read_json;

/// A finished pre-training as a value.
#[derive(Clone, Debug)]
pub struct Pretrained {
    /// Its run directory.
    pub dir: PathBuf,
    /// How it was run.
    pub facts: RunFacts,
    /// `results.json`.
    pub results: PretrainResults,
    /// `samples.jsonl`: what it writes.
    pub samples: Vec<Sample>,
    /// `metrics.jsonl`, by what is drawn of it.
    pub log: Log,
}

/// `results.json` of `pretrain`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PretrainResults {
    /// `pretrain`.
    pub phase: String,
    /// Where the weights came from: `scratch`, a path or a name on the Hub.
    pub init_from: String,
    /// Loss, perplexity and bits per byte of the validation part.
    #[serde(flatten)]
    pub validation: LanguageScores,
    /// Mean training loss between the last two evaluations, nats per token.
    pub train_loss: Option<f64>,
    /// Optimizer steps.
    pub steps: u64,
    /// Step whose weights the model has.
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
    /// Model FLOP/s utilisation: share of the rate that a plain matrix product reaches on this machine, 0 to 1.
    pub mfu: f64,
    /// Most memory held, bytes.
    pub peak_memory_bytes: u64,
    /// Seconds of training.
    pub wall_secs: f64,
    /// Corpus BLEU of greedy continuations of held-out prompts, 0 to 100.
    pub bleu: Option<f64>,
    /// Smoothing, tokenization and case of that BLEU, in sacreBLEU's notation.
    pub bleu_signature: Option<String>,
}

/// A prompt and what the model wrote after it, one line of `samples.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Given.
    pub prompt: String,
    /// Written.
    pub continuation: String,
    /// Of the choice of each next token.
    pub seed: u64,
}

impl Pretrained {
    /// Reads the finished run at `path`.
    ///
    /// Errors: no results there (66), results of another kind (65).
    pub fn load(path: &Path) -> Result<Self> {
        let results = read_json(path, "results.json")?;
        Ok(Self {
            dir: path.into(),
            facts: RunFacts::read(path),
            results,
            samples: Sample::read_all(path),
            log: Log::read(path),
        })
    }
}

impl Sample {
    /// Writes `samples.jsonl` below `path`.
    pub fn write_all(path: &Path, samples: &[Self]) -> Result<()> {
        write_lines(&path.join("samples.jsonl"), samples)
    }

    /// Those of the run at `path`; none where there is no such file.
    fn read_all(path: &Path) -> Vec<Self> {
        read_lines(&path.join("samples.jsonl"))
    }
}
