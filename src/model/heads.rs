//! The two heads on the body: next-token logits and class logits.

use candle_core::{Device, Result, Tensor};

use super::config::ModelConfig;
use super::dropout::Dropout;
use super::head::Pooling;
use super::kv_cache::KvCache;
use super::layers::{Linear, Source, weight};
use super::lora::LoraConfig;
use super::params::Weights;
use super::spec::PoolerSpec;
use super::token_rows::TokenRows;
use super::transformer::Transformer;
use crate::ops::{self, Pool, Traced, WeightLayout};

/// Trunk with a language-model head.
pub struct LanguageModel {
    body: Transformer,
    /// (V, C).
    head: Tensor,
}

impl LanguageModel {
    /// Builds the model over `weights`; a tied head reads the embedding.
    pub fn new(config: &ModelConfig, weights: &Weights) -> Result<Self> {
        let body = Transformer::new(config, weights, None)?;
        let head = match config.spec().lm_head {
            Some(head) => weight(weights, &head.name)?,
            None => body.embedding().clone(),
        };
        Ok(Self { body, head })
    }

    /// This model, computing the activations of each block again for the backward pass where `recompute`.
    pub fn with_recompute(mut self, recompute: bool) -> Self {
        self.body.set_recompute(recompute);
        self
    }

    /// Longest sequence, in tokens.
    pub fn max_position_embeddings(&self) -> usize {
        self.body.max_position_embeddings()
    }

    /// Where the model lives.
    pub fn device(&self) -> &Device {
        self.head.device()
    }

    /// Logits (N, V) of the next token at every position.
    pub fn logits(&self, rows: &TokenRows, dropout: &mut Dropout) -> Result<Traced> {
        self.project(&self.body.forward(rows, dropout)?)
    }

    /// The sum over all positions of the cross-entropy of their targets (N), times `scale`; in nats.
    pub fn loss(
        &self,
        rows: &TokenRows,
        targets: &Tensor,
        scale: f64,
        dropout: &mut Dropout,
    ) -> Result<Traced> {
        ops::head_cross_entropy(&self.body.forward(rows, dropout)?, &(&self.head).into(), targets, scale)
    }

    /// The cross-entropy (N) of each target in nats, without gradients; 0 where there is no target.
    pub fn losses(&self, rows: &TokenRows, targets: &Tensor) -> Result<Tensor> {
        ops::head_losses(&self.body.forward(rows, &mut Dropout::off())?, &(&self.head).into(), targets)
    }

    /// Logits (B, V) after the last of the new positions input_ids (B, T), with everything before in `cache`.
    pub fn next_logits(&self, input_ids: &Tensor, cache: &mut KvCache) -> Result<Tensor> {
        let (b, t) = input_ids.dims2()?;
        let hidden = self.body.forward_cached(input_ids, cache)?; // (B * T, C)
        let last = ops::pool(&hidden, &vec![t; b], Pool::Last)?; // (B, C)
        Ok(self.project(&last)?.value().clone())
    }

    fn project(&self, hidden: &Traced) -> Result<Traced> {
        ops::linear(hidden, &[(&self.head).into()], None, WeightLayout::OutIn)
    }
}

/// A map of the pooled state, C to C, and a non-linearity.
struct Pooler {
    dense: Linear,
    activation: fn(&Traced) -> Result<Traced>,
}

/// Trunk with a classification head.
pub struct Classifier {
    body: Transformer,
    /// What the pooled state goes through.
    pooler: Option<Pooler>,
    /// Width C to num_labels.
    score: Linear,
    pooling: Pooling,
}

impl Classifier {
    /// Builds the model over `weights`, which hold a head for `pooling`.
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
        let (body, spec) = (Transformer::new(config, weights, lora)?, config.spec());
        // The number of labels is that of the weights; names do not depend on it.
        let score = spec.classifier(0, pooling);
        let from = Source { weights, lora: None, layout: WeightLayout::OutIn };
        let pooler = match spec.pooler_of(pooling) {
            Some(PoolerSpec { dense, activation, .. }) => {
                Some(Pooler { dense: Linear::new(dense, from)?, activation: *activation })
            }
            None if pooling == Pooling::First => {
                candle_core::bail!("the model has no pooler for its first token")
            }
            None => None,
        };
        Ok(Self { body, pooler, score: Linear::new(&score, from)?, pooling })
    }

    /// This model, computing the activations of each block again for the backward pass where `recompute`.
    pub fn with_recompute(mut self, recompute: bool) -> Self {
        self.body.set_recompute(recompute);
        self
    }

    /// Where the model lives.
    pub fn device(&self) -> &Device {
        self.body.embedding().device()
    }

    /// Class logits (sequences, num_labels).
    pub fn logits(&self, rows: &TokenRows, dropout: &mut Dropout) -> Result<Traced> {
        self.score(&self.hidden(rows, dropout)?, rows, dropout)
    }

    /// Final hidden states (N, C).
    pub fn hidden(&self, rows: &TokenRows, dropout: &mut Dropout) -> Result<Traced> {
        self.body.forward(rows, dropout)
    }

    /// The sum over all positions of the cross-entropy of the tokens that follow (N), times `scale`, by the
    /// embedding as a tied head; in nats.
    pub fn language_loss(&self, hidden: &Traced, targets: &Tensor, scale: f64) -> Result<Traced> {
        ops::head_cross_entropy(hidden, &self.body.embedding().into(), targets, scale)
    }

    /// Class logits (sequences, num_labels) from the hidden states of `rows`.
    pub fn score(&self, hidden: &Traced, rows: &TokenRows, dropout: &mut Dropout) -> Result<Traced> {
        let mut pooled = ops::pool(hidden, rows.lengths(), self.pooling.pool())?;
        if let Some(pooler) = &self.pooler {
            pooled = (pooler.activation)(&pooler.dense.forward(&pooled, dropout)?)?;
        }
        let pooled = dropout.apply(&pooled)?;
        self.score.forward(&pooled, dropout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_may_go_to_another_thread() {
        fn is_send<T: Send + Sync>() {}
        is_send::<LanguageModel>();
        is_send::<Classifier>();
    }
}
