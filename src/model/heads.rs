//! The two heads on the trunk: next-token logits and class logits.

use candle_core::{Device, Result, Tensor};
use serde::{Deserialize, Serialize};

use super::attention::KvCache;
use super::config::ModelConfig;
use super::dropout::Dropout;
use super::layers::weight;
use super::params::Weights;
use super::transformer::Transformer;
use crate::ops::{self, WeightLayout};

/// Trunk with a language-model head.
pub struct LanguageModel {
    trunk: Transformer,
    /// (V, C).
    head: Tensor,
}

impl LanguageModel {
    /// Builds the model over `weights`; a tied head reads the embedding.
    pub fn new(config: &ModelConfig, weights: &Weights) -> Result<Self> {
        let trunk = Transformer::new(config, weights)?;
        let head = if config.tie_word_embeddings() {
            trunk.embedding().clone()
        } else {
            weight(weights, "lm_head.weight")?
        };
        Ok(Self { trunk, head })
    }

    /// Where the model lives.
    pub fn device(&self) -> &Device {
        self.head.device()
    }

    /// Logits of the next token at every position: input_ids (B, T) -> (B * T, V).
    pub fn logits(&self, input_ids: &Tensor, dropout: &mut Dropout) -> Result<Tensor> {
        self.project(&self.trunk.forward(input_ids, dropout)?.flatten(0, 1)?)
    }

    /// Logits (B, V) after the last of the new positions input_ids (B, T), with everything before in `cache`.
    pub fn next_logits(&self, input_ids: &Tensor, cache: &mut KvCache) -> Result<Tensor> {
        let hidden = self.trunk.forward_cached(input_ids, cache)?;
        let last = hidden.narrow(1, hidden.dim(1)? - 1, 1)?.squeeze(1)?; // (B, C)
        self.project(&last.contiguous()?)
    }

    fn project(&self, hidden: &Tensor) -> Result<Tensor> {
        ops::linear(hidden, &self.head, None, WeightLayout::OutIn)
    }
}

/// Which hidden state speaks for the whole text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The last token that is not padding, as transformers' sequence classifiers do.
    #[default]
    Last,
    /// The mean over all tokens that are not padding.
    Mean,
}

/// Trunk with a classification head.
pub struct Classifier {
    trunk: Transformer,
    /// (num_labels, C), no bias.
    score: Tensor,
    pooling: Pooling,
}

impl Classifier {
    /// Builds the model over `weights`, which hold `score.weight`.
    pub fn new(config: &ModelConfig, weights: &Weights, pooling: Pooling) -> Result<Self> {
        let trunk = Transformer::new(config, weights)?;
        Ok(Self { trunk, score: weight(weights, "score.weight")?, pooling })
    }

    /// Class logits: input_ids (B, T) padded on the right, `lengths` (B) in tokens -> (B, num_labels).
    ///
    /// Errors: a length of 0 or beyond T.
    pub fn logits(&self, input_ids: &Tensor, lengths: &[usize], dropout: &mut Dropout) -> Result<Tensor> {
        let (b, t) = input_ids.dims2()?;
        if lengths.len() != b || lengths.iter().any(|n| *n == 0 || *n > t) {
            candle_core::bail!("classifier: lengths {lengths:?} do not fit input ids of shape ({b}, {t})");
        }
        let hidden = self.trunk.forward(input_ids, dropout)?; // (B, T, C)
        let pooled = match self.pooling {
            Pooling::Last => last(&hidden, lengths)?,
            Pooling::Mean => mean(&hidden, lengths)?,
        };
        ops::linear(&dropout.apply(&pooled)?, &self.score, None, WeightLayout::OutIn)
    }
}

/// (B, T, C) -> (B, C), the state at `lengths - 1`.
fn last(hidden: &Tensor, lengths: &[usize]) -> Result<Tensor> {
    let t = hidden.dim(1)?;
    let rows: Vec<u32> = lengths.iter().enumerate().map(|(row, n)| (row * t + n - 1) as u32).collect();
    let rows = Tensor::from_vec(rows, lengths.len(), hidden.device())?;
    hidden.flatten(0, 1)?.index_select(&rows, 0)
}

/// (B, T, C) -> (B, C), the mean over the first `lengths` states, as one product with (B, 1, T) weights.
fn mean(hidden: &Tensor, lengths: &[usize]) -> Result<Tensor> {
    let t = hidden.dim(1)?;
    let share = |n: &usize| (0..t).map(|i| if i < *n { 1.0 / *n as f32 } else { 0.0 }).collect::<Vec<_>>();
    let shares: Vec<f32> = lengths.iter().flat_map(share).collect();
    let shares =
        Tensor::from_vec(shares, (lengths.len(), 1, t), hidden.device())?.to_dtype(hidden.dtype())?;
    shares.matmul(hidden)?.squeeze(1)
}
