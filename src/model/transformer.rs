//! The trunk: token ids to final hidden states.

use candle_core::{Result, Tensor};

use super::attention::{KvCache, Rotary};
use super::block::Block;
use super::config::ModelConfig;
use super::dropout::Dropout;
use super::layers::{Norm, weight};
use super::params::Weights;
use crate::ops;

/// Embedding, blocks and final norm of one model.
pub struct Transformer {
    embedding: Tensor,
    positions: Positions,
    blocks: Vec<Block>,
    final_norm: Norm,
    max_position_embeddings: usize,
}

enum Positions {
    /// Rotations inside each attention.
    Rotary(Rotary),
    /// A table (P, C) added to the embeddings.
    Learned(Tensor),
}

impl Transformer {
    /// Builds the trunk over `weights`; they may be tracked by autograd or not.
    ///
    /// Errors: a tensor that the config calls for is missing.
    pub fn new(config: &ModelConfig, weights: &Weights) -> Result<Self> {
        let layers = 0..config.num_hidden_layers();
        let blocks = layers.map(|layer| Block::new(config, weights, layer)).collect::<Result<_>>()?;
        let max_position_embeddings = config.max_position_embeddings();
        match config {
            ModelConfig::Llama(c) => {
                let embedding = weight(weights, "model.embed_tokens.weight")?;
                let rotary = Rotary::new(config, c.rope_theta, embedding.device(), embedding.dtype())?;
                let positions = Positions::Rotary(rotary);
                let final_norm = Norm::new(weights, "model.norm", c.rms_norm_eps)?;
                Ok(Self { embedding, positions, blocks, final_norm, max_position_embeddings })
            }
            ModelConfig::Gpt2(c) => {
                let embedding = weight(weights, "transformer.wte.weight")?;
                let positions = Positions::Learned(weight(weights, "transformer.wpe.weight")?);
                let final_norm = Norm::new(weights, "transformer.ln_f", c.layer_norm_epsilon)?;
                Ok(Self { embedding, positions, blocks, final_norm, max_position_embeddings })
            }
        }
    }

    /// The embedding (V, C), also the tied head.
    pub(super) fn embedding(&self) -> &Tensor {
        &self.embedding
    }

    /// Hidden states after the final norm.
    ///
    /// Shapes: input_ids (B, T) u32 -> (B, T, C). Right padding needs no mask: no token sees what follows it.
    /// Errors: T beyond max_position_embeddings; an id outside the vocabulary.
    pub fn forward(&self, input_ids: &Tensor, dropout: &mut Dropout) -> Result<Tensor> {
        let mut x = dropout.apply(&self.embed(input_ids, 0)?)?;
        for block in &self.blocks {
            x = block.forward(&x, self.rotary(), dropout)?;
        }
        self.final_norm.forward(&x)
    }

    /// Hidden states (B, T, C) of T new positions that follow those in `cache`.
    pub fn forward_cached(&self, input_ids: &Tensor, cache: &mut KvCache) -> Result<Tensor> {
        let mut x = self.embed(input_ids, cache.len)?;
        for (layer, block) in self.blocks.iter().enumerate() {
            x = block.forward_cached(&x, self.rotary(), cache, layer)?;
        }
        cache.len += input_ids.dim(1)?;
        self.final_norm.forward(&x)
    }

    fn rotary(&self) -> Option<&Rotary> {
        match &self.positions {
            Positions::Rotary(rotary) => Some(rotary),
            Positions::Learned(_) => None,
        }
    }

    fn embed(&self, input_ids: &Tensor, start: usize) -> Result<Tensor> {
        let (_, t) = input_ids.dims2()?;
        if start + t > self.max_position_embeddings {
            candle_core::bail!(
                "a sequence of {} tokens is longer than the model's {} positions",
                start + t,
                self.max_position_embeddings
            );
        }
        let x = ops::embedding(&self.embedding, input_ids)?; // (B, T, C)
        match &self.positions {
            Positions::Rotary(_) => Ok(x),
            Positions::Learned(table) => x.broadcast_add(&table.narrow(0, start, t)?),
        }
    }
}
