//! One transformer block: x + attention(norm(x)), then x + mlp(norm(x)).

use candle_core::Result;

use super::attention::{Attention, KvCache, Rotary};
use super::config::ModelConfig;
use super::dropout::Dropout;
use super::layers::Norm;
use super::lora::LoraConfig;
use super::mlp::Mlp;
use super::params::Weights;
use super::transformer::TokenRows;
use crate::ops::{self, Traced};

/// A pre-norm block.
pub(super) struct Block {
    attention_norm: Norm,
    attention: Attention,
    mlp_norm: Norm,
    mlp: Mlp,
}

impl Block {
    /// Places where a forward pass drops values.
    pub(super) const DROPOUTS: u64 = 2;

    /// Block number `layer`.
    pub(super) fn new(
        config: &ModelConfig,
        weights: &Weights,
        lora: Option<&LoraConfig>,
        layer: usize,
    ) -> Result<Self> {
        let (names, eps) = match config {
            ModelConfig::Llama(c) => {
                let at = |name: &str| format!("model.layers.{layer}.{name}");
                ([at("input_layernorm"), at("post_attention_layernorm")], c.rms_norm_eps)
            }
            ModelConfig::Gpt2(c) => {
                let at = |name: &str| format!("transformer.h.{layer}.{name}");
                ([at("ln_1"), at("ln_2")], c.layer_norm_epsilon)
            }
        };
        Ok(Self {
            attention_norm: Norm::new(weights, &names[0], eps)?,
            attention: Attention::new(config, weights, lora, layer)?,
            mlp_norm: Norm::new(weights, &names[1], eps)?,
            mlp: Mlp::new(config, weights, lora, layer)?,
        })
    }

    /// x (N, C) -> (N, C); dropout acts on both branches before they join the residual stream.
    pub(super) fn forward(
        &self,
        x: &Traced,
        rows: &TokenRows,
        rotary: Option<&Rotary>,
        dropout: &mut Dropout,
    ) -> Result<Traced> {
        let attended = self.attention.forward(&self.attention_norm.forward(x)?, rows, rotary, dropout)?;
        let x = dropout.add(x, &attended)?;
        let transformed = self.mlp.forward(&self.mlp_norm.forward(&x)?, dropout)?;
        dropout.add(&x, &transformed)
    }

    /// As `forward`, for new positions after those in `cache`, without dropout.
    pub(super) fn forward_cached(
        &self,
        x: &Traced,
        rows: &TokenRows,
        rotary: Option<&Rotary>,
        cache: &mut KvCache,
        layer: usize,
    ) -> Result<Traced> {
        let normed = self.attention_norm.forward(x)?;
        let attended = self.attention.forward_cached(&normed, rows, rotary, cache, layer)?;
        let x = ops::add(x, &attended, None)?;
        let transformed = self.mlp.forward(&self.mlp_norm.forward(&x)?, &Dropout::off())?;
        ops::add(&x, &transformed, None)
    }
}
