//! What a model folder holds.

use candle_core::Device;

use crate::error::Result;
use crate::model::{ModelConfig, Pooling, Weights};
use crate::tokenizer::Tokenizer;

/// A model on disk with its tokenizer.
pub struct HfFolder {
    /// Sizes.
    pub config: ModelConfig,
    /// Class names in label order; empty for a language model.
    pub label_names: Vec<String>,
    /// How a classifier pools.
    pub pooling: Pooling,
    /// Longest text in tokens.
    pub max_tokens: usize,
    /// Tensors by name.
    pub weights: Weights,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
}

/// What a model folder is written from.
#[derive(Clone, Copy)]
pub struct ModelFiles<'a> {
    /// Sizes.
    pub config: &'a ModelConfig,
    /// Class names in label order; empty for a language model.
    pub label_names: &'a [String],
    /// How a classifier pools.
    pub pooling: Pooling,
    /// Longest text in tokens.
    pub max_tokens: usize,
    /// Tensors by name.
    pub weights: &'a Weights,
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
}

impl HfFolder {
    /// What a copy is written from.
    pub fn files(&self) -> ModelFiles<'_> {
        ModelFiles {
            config: &self.config,
            label_names: &self.label_names,
            pooling: self.pooling,
            max_tokens: self.max_tokens,
            weights: &self.weights,
            tokenizer: &self.tokenizer,
        }
    }

    /// The tensors on `device`, for a model without autograd.
    pub fn weights_on(&self, device: &Device) -> Result<Weights> {
        let moved = self.weights.iter().map(|(name, tensor)| Ok((name.clone(), tensor.to_device(device)?)));
        moved.collect()
    }
}
