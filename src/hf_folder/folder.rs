//! What a model folder holds.

use candle_core::Device;

use crate::error::Result;
use crate::metrics::Threshold;
use crate::model::{ModelConfig, Pooling, Weights};
use crate::tokenizer::Tokenizer;

/// How a classifier of two labels answers, beside its weights.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Number of the label that the threshold is about.
    pub positive: Option<usize>,
    /// How a label follows; none where the folder does not say so.
    pub threshold: Option<Threshold>,
    /// Logits divided by it make probabilities that can be believed.
    pub temperature: Option<f64>,
    /// Windows that a long text is read in at most, whose probabilities are averaged; none for one.
    pub windows: Option<usize>,
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
    /// Number of the positive label, and from which probability of it on it is given; none for the likeliest label.
    pub fn decided(&self) -> (usize, Option<f64>) {
        let binary = self.label_names.len() == 2;
        match (self.decision.threshold, self.decision.positive) {
            (Some(Threshold::Fixed(threshold)), Some(positive)) if binary => (positive, Some(threshold)),
            (Some(Threshold::Likeliest), _) => (1, None),
            // As transformers does.
            _ => (1, binary.then_some(0.5)),
        }
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
