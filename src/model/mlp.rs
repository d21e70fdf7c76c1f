//! The feed-forward half of a block: SwiGLU (Llama) or GELU (GPT-2).

use candle_core::Result;

use super::config::ModelConfig;
use super::dropout::Dropout;
use super::layers::Linear;
use super::lora::LoraConfig;
use super::params::Weights;
use crate::ops::{self, Traced};

/// Two linear maps with a non-linearity between.
pub(super) struct Mlp {
    expand: Linear,
    contract: Linear,
    activation: fn(&Traced) -> Result<Traced>,
}

impl Mlp {
    /// The MLP of block `layer`.
    pub(super) fn new(
        config: &ModelConfig,
        weights: &Weights,
        lora: Option<&LoraConfig>,
        layer: usize,
    ) -> Result<Self> {
        match config {
            ModelConfig::Llama(_) => {
                let at = |name: &str| format!("model.layers.{layer}.mlp.{name}");
                Ok(Self {
                    expand: Linear::stacked(weights, lora, &[at("gate_proj"), at("up_proj")])?,
                    contract: Linear::stacked(weights, lora, &[at("down_proj")])?,
                    activation: ops::swiglu,
                })
            }
            ModelConfig::Gpt2(_) => {
                let at = |name: &str| format!("transformer.h.{layer}.mlp.{name}");
                Ok(Self {
                    expand: Linear::conv1d(weights, lora, at("c_fc"))?,
                    contract: Linear::conv1d(weights, lora, at("c_proj"))?,
                    activation: ops::gelu,
                })
            }
        }
    }

    /// x (N, C) -> (N, C).
    pub(super) fn forward(&self, x: &Traced, dropout: &Dropout) -> Result<Traced> {
        self.contract.forward(&(self.activation)(&self.expand.forward(x, dropout)?)?, dropout)
    }
}
