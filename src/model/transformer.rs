//! The trunk: token ids to final hidden states.

use std::rc::Rc;

use candle_core::{DType, Result, Tensor};

use super::attention::{KvCache, Rotary};
use super::block::Block;
use super::config::ModelConfig;
use super::dropout::Dropout;
use super::layers::{Norm, weight};
use super::lora::LoraConfig;
use super::params::Weights;
use crate::ops::{self, Traced};

/// The tokens of several sequences, one after the other, without padding.
#[derive(Clone)]
pub struct TokenRows {
    ids: Tensor,
    positions: Tensor,
    lengths: Vec<usize>,
}

impl TokenRows {
    /// Sequences of these lengths, whose first token stands at position `start`.
    ///
    /// Shapes: ids (N) u32, N the sum of the lengths.
    /// Errors: lengths of 0, or that do not add up to N.
    pub fn new(ids: &Tensor, lengths: &[usize], start: usize) -> Result<Self> {
        let rows = ids.dims1()?;
        if lengths.contains(&0) || lengths.iter().sum::<usize>() != rows {
            candle_core::bail!("sequences of lengths {lengths:?} do not make up {rows} tokens");
        }
        let positions: Vec<u32> =
            lengths.iter().flat_map(|length| start as u32..(start + length) as u32).collect();
        let positions = ops::upload(&positions, rows, ids.device())?;
        Ok(Self { ids: ids.clone(), positions, lengths: lengths.to_vec() })
    }

    /// Sequences of equal length: input_ids (B, T).
    pub fn equal(input_ids: &Tensor, start: usize) -> Result<Self> {
        let (b, t) = input_ids.dims2()?;
        Self::new(&input_ids.flatten_all()?, &vec![t; b], start)
    }

    /// Tokens in each sequence.
    pub(super) fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// The place (N) of each token in its sequence.
    pub(super) fn positions(&self) -> &Tensor {
        &self.positions
    }
}

/// Embedding, blocks and final norm of one model.
pub struct Transformer {
    embedding: Traced,
    positions: Positions,
    blocks: Vec<Rc<Block>>,
    recompute: bool,
    final_norm: Norm,
    max_position_embeddings: usize,
}

enum Positions {
    /// Rotations inside each attention.
    Rotary(Rotary),
    /// A table (P, C) added to the embeddings.
    Learned(Traced),
}

impl Transformer {
    /// Builds the trunk over `weights`; they may be tracked by autograd or not. With `lora` the updates among
    /// them act beside the maps they are named after.
    ///
    /// Errors: a tensor that the config calls for is missing.
    pub fn new(config: &ModelConfig, weights: &Weights, lora: Option<&LoraConfig>) -> Result<Self> {
        let block = |layer| Block::new(config, weights, lora, layer).map(Rc::new);
        let blocks = (0..config.num_hidden_layers()).map(block).collect::<Result<_>>()?;
        let max_position_embeddings = config.max_position_embeddings();
        let (embedding, positions, final_norm) = match config {
            ModelConfig::Llama(c) => {
                let embedding = weight(weights, "model.embed_tokens.weight")?;
                // Angles of far positions need more digits than halves have.
                let dtype =
                    if embedding.dtype().size_in_bytes() < 4 { DType::F32 } else { embedding.dtype() };
                let rotary = Rotary::new(config, c.rope_theta, embedding.device(), dtype)?;
                (embedding, Positions::Rotary(rotary), Norm::new(weights, "model.norm", c.rms_norm_eps)?)
            }
            ModelConfig::Gpt2(c) => (
                weight(weights, "transformer.wte.weight")?,
                Positions::Learned(weight(weights, "transformer.wpe.weight")?),
                Norm::new(weights, "transformer.ln_f", c.layer_norm_epsilon)?,
            ),
        };
        Ok(Self { embedding, positions, blocks, recompute: false, final_norm, max_position_embeddings })
    }

    /// Whether the activations of each block are computed again for the backward pass instead of kept.
    pub(super) fn set_recompute(&mut self, recompute: bool) {
        self.recompute = recompute;
    }

    /// The embedding (V, C), also the tied head.
    pub(super) fn embedding(&self) -> &Traced {
        &self.embedding
    }

    /// Hidden states (N, C) after the final norm.
    ///
    /// Errors: a sequence beyond max_position_embeddings; an id outside the vocabulary.
    pub fn forward(&self, rows: &TokenRows, dropout: &mut Dropout) -> Result<Traced> {
        let mut x = dropout.apply(&self.embed(rows, 0)?)?;
        for block in &self.blocks {
            x = if self.recompute {
                self.recomputed(block, &x, rows, dropout)?
            } else {
                block.forward(&x, rows, self.rotary(), dropout)?
            };
        }
        self.final_norm.forward(&x)
    }

    /// A block that keeps its input alone until the backward pass.
    fn recomputed(
        &self,
        block: &Rc<Block>,
        x: &Traced,
        rows: &TokenRows,
        dropout: &mut Dropout,
    ) -> Result<Traced> {
        let (block, rows, rotary) = (block.clone(), rows.clone(), self.rotary().cloned());
        let masks = dropout.clone();
        dropout.skip(Block::DROPOUTS);
        ops::recompute(x, move |x| block.forward(x, &rows, rotary.as_ref(), &mut masks.clone()))
    }

    /// Hidden states (N, C) of new positions that follow those in `cache`, as many in each sequence.
    pub fn forward_cached(&self, input_ids: &Tensor, cache: &mut KvCache) -> Result<Traced> {
        let rows = TokenRows::equal(input_ids, cache.len)?;
        let mut x = self.embed(&rows, cache.len)?;
        for (layer, block) in self.blocks.iter().enumerate() {
            x = block.forward_cached(&x, &rows, self.rotary(), cache, layer)?;
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

    fn embed(&self, rows: &TokenRows, start: usize) -> Result<Traced> {
        let longest = start + rows.lengths.iter().copied().max().unwrap_or(0);
        if longest > self.max_position_embeddings {
            candle_core::bail!(
                "a sequence of {longest} tokens is longer than the model's {} positions",
                self.max_position_embeddings
            );
        }
        let x = ops::embedding(&self.embedding, &rows.ids)?; // (N, C)
        match &self.positions {
            Positions::Rotary(_) => Ok(x),
            Positions::Learned(table) => ops::add(&x, &ops::embedding(table, &rows.positions)?, None),
        }
    }
}
