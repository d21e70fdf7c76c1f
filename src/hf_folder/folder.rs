//! What a model folder holds.

use candle_core::Device;

use crate::error::Result;
use crate::model::{ModelConfig, Pooling, Weights};
use crate::tokenizer::Tokenizer;

/// How a classifier of two labels answers, beside its weights.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Number of the label that the threshold is about.
    pub positive: Option<usize>,
    /// From this probability of it on it is given; none where the likeliest label is.
    pub threshold: Option<f64>,
    /// Logits divided by it make probabilities that can be believed.
    pub temperature: Option<f64>,
}

/// A model on disk with its tokenizer.
pub struct HfFolder {
    /// Sizes.
    pub config: ModelConfig,
    /// Class names in label order; empty for a language model.
    pub label_names: Vec<String>,
    /// How a classifier pools.
    pub pooling: Pooling,
    /// How it answers.
    pub decision: Decision,
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
    /// How it answers, where that is known.
    pub decision: Option<&'a Decision>,
    /// Longest text in tokens.
    pub max_tokens: usize,
    /// Tensors by name.
    pub weights: &'a Weights,
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
}

impl HfFolder {
    /// Number of the label that is given from a threshold on, and the threshold, where config.json says so.
    pub fn decided(&self) -> Option<(usize, f64)> {
        Some((self.decision.positive?, self.decision.threshold?)).filter(|_| self.label_names.len() == 2)
    }

    /// What a copy is written from.
    pub fn files(&self) -> ModelFiles<'_> {
        ModelFiles {
            config: &self.config,
            label_names: &self.label_names,
            pooling: self.pooling,
            decision: Some(&self.decision),
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
