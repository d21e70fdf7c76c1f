//! The two heads on the trunk: next-token logits and class logits.

use candle_core::{Device, Result, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attention::KvCache;
use super::config::ModelConfig;
use super::dropout::Dropout;
use super::layers::weight;
use super::lora::LoraConfig;
use super::params::Weights;
use super::transformer::{TokenRows, Transformer};
use crate::ops::{self, Pool, Traced, WeightLayout};

/// Name of a classification head, (num_labels, width C).
pub const SCORE_WEIGHT: &str = "score.weight";

/// Trunk with a language-model head.
pub struct LanguageModel {
    trunk: Transformer,
    /// (V, C).
    head: Traced,
}

impl LanguageModel {
    /// Builds the model over `weights`; a tied head reads the embedding.
    pub fn new(config: &ModelConfig, weights: &Weights) -> Result<Self> {
        let trunk = Transformer::new(config, weights, None)?;
        let head = if config.tie_word_embeddings() {
            trunk.embedding().clone()
        } else {
            weight(weights, "lm_head.weight")?
        };
        Ok(Self { trunk, head })
    }

    /// This model, computing the activations of each block again for the backward pass where `recompute`.
    pub fn with_recompute(mut self, recompute: bool) -> Self {
        self.trunk.set_recompute(recompute);
        self
    }

    /// Where the model lives.
    pub fn device(&self) -> &Device {
        self.head.device()
    }

    /// Logits (N, V) of the next token at every position.
    pub fn logits(&self, rows: &TokenRows, dropout: &mut Dropout) -> Result<Traced> {
        self.project(&self.trunk.forward(rows, dropout)?)
    }

    /// The sum over all positions of the cross-entropy of their targets (N), times `scale`; in nats.
    pub fn loss(
        &self,
        rows: &TokenRows,
        targets: &Tensor,
        scale: f64,
        dropout: &mut Dropout,
    ) -> Result<Traced> {
        ops::head_cross_entropy(&self.trunk.forward(rows, dropout)?, &self.head, targets, scale)
    }

    /// The cross-entropy (N) of each target in nats, without gradients; 0 where there is no target.
    pub fn losses(&self, rows: &TokenRows, targets: &Tensor) -> Result<Tensor> {
        ops::head_losses(&self.trunk.forward(rows, &mut Dropout::off())?, &self.head, targets)
    }

    /// Logits (B, V) after the last of the new positions input_ids (B, T), with everything before in `cache`.
    pub fn next_logits(&self, input_ids: &Tensor, cache: &mut KvCache) -> Result<Tensor> {
        let (b, t) = input_ids.dims2()?;
        let hidden = self.trunk.forward_cached(input_ids, cache)?; // (B * T, C)
        let last = ops::pool(&hidden, &vec![t; b], Pool::Last)?; // (B, C)
        Ok(self.project(&last)?.value().clone())
    }

    fn project(&self, hidden: &Traced) -> Result<Traced> {
        ops::linear(hidden, std::slice::from_ref(&self.head), None, WeightLayout::OutIn)
    }
}

/// Which hidden state speaks for the whole text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The last token that is not padding, as transformers' sequence classifiers do.
    #[default]
    Last,
    /// The mean over all tokens that are not padding.
    Mean,
    /// Last, maximum and mean side by side, three inputs of the head for each hidden value.
    Concat,
}

impl Pooling {
    /// Inputs of the head for each hidden value.
    pub fn width(self) -> usize {
        self.pool().width()
    }

    fn pool(self) -> Pool {
        match self {
            Self::Last => Pool::Last,
            Self::Mean => Pool::Mean,
            Self::Concat => Pool::Concat,
        }
    }
}

/// Trunk with a classification head.
pub struct Classifier {
    trunk: Transformer,
    /// (num_labels, width C), no bias.
    score: Traced,
    pooling: Pooling,
}

impl Classifier {
    /// Builds the model over `weights`, which hold [`SCORE_WEIGHT`].
    pub fn new(config: &ModelConfig, weights: &Weights, pooling: Pooling) -> Result<Self> {
        Self::with_lora(config, weights, pooling, None)
    }

    /// As `new`, with the updates among `weights` acting as `lora` says.
    pub fn with_lora(
        config: &ModelConfig,
        weights: &Weights,
        pooling: Pooling,
        lora: Option<&LoraConfig>,
    ) -> Result<Self> {
        let trunk = Transformer::new(config, weights, lora)?;
        Ok(Self { trunk, score: weight(weights, SCORE_WEIGHT)?, pooling })
    }

    /// This model, computing the activations of each block again for the backward pass where `recompute`.
    pub fn with_recompute(mut self, recompute: bool) -> Self {
        self.trunk.set_recompute(recompute);
        self
    }

    /// Class logits (sequences, num_labels).
    pub fn logits(&self, rows: &TokenRows, dropout: &mut Dropout) -> Result<Traced> {
        self.score(&self.hidden(rows, dropout)?, rows, dropout)
    }

    /// Final hidden states (N, C).
    pub fn hidden(&self, rows: &TokenRows, dropout: &mut Dropout) -> Result<Traced> {
        self.trunk.forward(rows, dropout)
    }

    /// The sum over all positions of the cross-entropy of the tokens that follow (N), times `scale`, by the
    /// embedding as a tied head; in nats.
    pub fn language_loss(&self, hidden: &Traced, targets: &Tensor, scale: f64) -> Result<Traced> {
        ops::head_cross_entropy(hidden, self.trunk.embedding(), targets, scale)
    }

    /// Class logits (sequences, num_labels) from the hidden states of `rows`.
    pub fn score(&self, hidden: &Traced, rows: &TokenRows, dropout: &mut Dropout) -> Result<Traced> {
        let pooled = ops::pool(hidden, rows.lengths(), self.pooling.pool())?;
        ops::linear(&dropout.apply(&pooled)?, std::slice::from_ref(&self.score), None, WeightLayout::OutIn)
    }
}
