//! The body, from token ids to final hidden states: blocks of attention and MLP.

use std::sync::Arc;

use candle_core::{D, DType, Result, Tensor};

use super::config::ModelConfig;
use super::dropout::Dropout;
use super::kv_cache::KvCache;
use super::layers::{Linear, Norm, Source};
use super::lora::LoraConfig;
use super::params::Weights;
use super::rotary::Rotary;
use super::spec::{self, BlockSpec, ModelSpec, NormSpec, Sizes};
use super::token_rows::TokenRows;
use crate::ops::{self, Mask, Traced};

/// Query, key and value projections, attention, output projection.
struct Attention {
    qkv: Linear,
    output: Linear,
    num_heads: usize,
    num_kv_heads: usize,
    head_dim: usize,
    mask: Mask,
}

impl Attention {
    /// Errors: a weight is missing.
    fn new(sizes: &Sizes, mask: Mask, spec: &BlockSpec, from: Source) -> Result<Self> {
        Ok(Self {
            qkv: Linear::new(&spec.qkv, from)?,
            output: Linear::new(&spec.attention_output, from)?,
            num_heads: sizes.num_attention_heads,
            num_kv_heads: sizes.num_key_value_heads,
            head_dim: sizes.head_dim,
            mask,
        })
    }

    /// x (N, C) -> (N, C) over whole sequences.
    fn forward(
        &self,
        x: &Traced,
        rows: &TokenRows,
        rotary: Option<&Rotary>,
        dropout: &Dropout,
    ) -> Result<Traced> {
        let qkv = self.projected(x, rows, rotary, dropout)?; // (N, (H + 2K) * D)
        let attended = ops::attention(&qkv, rows.lengths(), self.num_heads, self.num_kv_heads, self.mask)?;
        self.output.forward(&attended, dropout)
    }

    /// x (N, C) -> (N, C) for new positions, as many in each sequence, that also see everything in `cache`.
    fn forward_cached(
        &self,
        x: &Traced,
        rows: &TokenRows,
        rotary: Option<&Rotary>,
        cache: &mut KvCache,
        layer: usize,
    ) -> Result<Traced> {
        let qkv = self.projected(x, rows, rotary, &Dropout::off())?;
        let qkv = qkv.value().reshape((rows.lengths().len(), (), qkv.value().dim(1)?))?; // (B, T, (H + 2K) * D)
        let (queries, keys) = (self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim);
        let q = qkv.narrow(D::Minus1, 0, queries)?.contiguous()?;
        let k = qkv.narrow(D::Minus1, queries, keys)?.contiguous()?;
        let v = qkv.narrow(D::Minus1, queries + keys, keys)?.contiguous()?;
        let (k, v) = cache.append(layer, k, v)?;
        let attended = ops::attention_cached(&q, &k, &v, self.num_heads, self.num_kv_heads)?; // (B, T, H * D)
        self.output.forward(&attended.flatten(0, 1)?.into(), &Dropout::off())
    }

    /// Queries, keys and values side by side, rotated where there are angles.
    fn projected(
        &self,
        x: &Traced,
        rows: &TokenRows,
        rotary: Option<&Rotary>,
        dropout: &Dropout,
    ) -> Result<Traced> {
        let qkv = self.qkv.forward(x, dropout)?;
        match rotary {
            Some(Rotary { cos, sin }) => {
                ops::rope(&qkv, rows.positions(), cos, sin, self.num_heads + self.num_kv_heads)
            }
            None => Ok(qkv),
        }
    }
}

/// Attention, then MLP, each added to what it reads.
struct Block {
    norm_first: bool,
    attention_norm: Norm,
    attention: Attention,
    mlp_norm: Norm,
    mlp_input: Linear,
    activation: fn(&Traced) -> Result<Traced>,
    mlp_output: Linear,
}

impl Block {
    /// Places where a forward pass drops values.
    const DROPOUTS: u64 = 2;

    fn new(sizes: &Sizes, model: &ModelSpec, spec: &BlockSpec, from: Source) -> Result<Self> {
        Ok(Self {
            norm_first: model.norm_first,
            attention_norm: Norm::new(&spec.attention_norm, from)?,
            attention: Attention::new(sizes, model.mask, spec, from)?,
            mlp_norm: Norm::new(&spec.mlp_norm, from)?,
            mlp_input: Linear::new(&spec.mlp_input, from)?,
            activation: model.activation,
            mlp_output: Linear::new(&spec.mlp_output, from)?,
        })
    }

    /// x (N, C) -> (N, C); dropout acts on both branches before they join the residual stream.
    fn forward(
        &self,
        x: &Traced,
        rows: &TokenRows,
        rotary: Option<&Rotary>,
        dropout: &mut Dropout,
    ) -> Result<Traced> {
        let x = self.with_branch(x, &self.attention_norm, dropout, |x, dropout| {
            self.attention.forward(x, rows, rotary, dropout)
        })?;
        self.with_branch(&x, &self.mlp_norm, dropout, |x, dropout| self.mlp(x, dropout))
    }

    /// As `forward`, for new positions after those in `cache`, without dropout.
    fn forward_cached(
        &self,
        x: &Traced,
        rows: &TokenRows,
        rotary: Option<&Rotary>,
        cache: &mut KvCache,
        layer: usize,
    ) -> Result<Traced> {
        let dropout = &mut Dropout::off();
        let x = self.with_branch(x, &self.attention_norm, dropout, |x, _| {
            self.attention.forward_cached(x, rows, rotary, cache, layer)
        })?;
        self.with_branch(&x, &self.mlp_norm, dropout, |x, dropout| self.mlp(x, dropout))
    }

    /// x + branch(norm(x)), or norm(x + branch(x)).
    fn with_branch(
        &self,
        x: &Traced,
        norm: &Norm,
        dropout: &mut Dropout,
        branch: impl FnOnce(&Traced, &Dropout) -> Result<Traced>,
    ) -> Result<Traced> {
        if self.norm_first {
            let y = branch(&norm.forward(x)?, dropout)?;
            return dropout.add(x, &y);
        }
        let y = branch(x, dropout)?;
        norm.forward(&dropout.add(x, &y)?)
    }

    fn mlp(&self, x: &Traced, dropout: &Dropout) -> Result<Traced> {
        let inner = self.mlp_input.forward(x, dropout)?; // (N, I) or, gated, (N, 2 I)
        self.mlp_output.forward(&(self.activation)(&inner)?, dropout)
    }
}

/// Embeddings, blocks and norms of one model.
pub struct Transformer {
    embedding: Tensor,
    positions: Positions,
    /// (types, C).
    token_types: Option<Tensor>,
    embedding_norm: Option<Norm>,
    blocks: Vec<Arc<Block>>,
    recompute: bool,
    final_norm: Option<Norm>,
    max_position_embeddings: usize,
}

enum Positions {
    /// Rotations inside each attention.
    Rotary(Rotary),
    /// A table (P, C) added to the embeddings.
    Learned(Tensor),
}

impl Transformer {
    /// Builds the body over `weights`; they may be tracked by autograd or not. With `lora` the updates among
    /// them act beside the maps they are named after.
    ///
    /// Errors: a tensor that the config calls for is missing.
    pub fn new(config: &ModelConfig, weights: &Weights, lora: Option<&LoraConfig>) -> Result<Self> {
        let (sizes, spec) = (config.sizes(), config.spec());
        let from = Source { weights, lora, layout: spec.layout };
        let embedding = from.get(&spec.embedding)?;
        let positions = match &spec.positions {
            spec::Positions::Rotary(theta) => {
                // Angles of far positions need more digits than halves have.
                let dtype =
                    if embedding.dtype().size_in_bytes() < 4 { DType::F32 } else { embedding.dtype() };
                Positions::Rotary(Rotary::new(&sizes, *theta, embedding.device(), dtype)?)
            }
            spec::Positions::Learned(table) => Positions::Learned(from.get(table)?),
        };
        let norm = |norm: &Option<NormSpec>| norm.as_ref().map(|norm| Norm::new(norm, from)).transpose();
        let block = |block| Block::new(&sizes, &spec, block, from).map(Arc::new);
        Ok(Self {
            embedding,
            positions,
            token_types: spec.token_types.as_ref().map(|table| from.get(table)).transpose()?,
            embedding_norm: norm(&spec.embedding_norm)?,
            blocks: spec.blocks.iter().map(block).collect::<Result<_>>()?,
            recompute: false,
            final_norm: norm(&spec.final_norm)?,
            max_position_embeddings: sizes.max_position_embeddings,
        })
    }

    /// Whether the activations of each block are computed again for the backward pass instead of kept.
    pub(super) fn set_recompute(&mut self, recompute: bool) {
        self.recompute = recompute;
    }

    /// The embedding (V, C), also the tied head.
    pub(super) fn embedding(&self) -> &Tensor {
        &self.embedding
    }

    /// Longest sequence, in tokens.
    pub(super) fn max_position_embeddings(&self) -> usize {
        self.max_position_embeddings
    }

    /// Hidden states (N, C) after the last norm.
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
        normed(x, &self.final_norm)
    }

    /// A block that keeps its input alone until the backward pass.
    fn recomputed(
        &self,
        block: &Arc<Block>,
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
        normed(x, &self.final_norm)
    }

    fn rotary(&self) -> Option<&Rotary> {
        match &self.positions {
            Positions::Rotary(rotary) => Some(rotary),
            Positions::Learned(_) => None,
        }
    }

    fn embed(&self, rows: &TokenRows, start: usize) -> Result<Traced> {
        let longest = start + rows.lengths().iter().copied().max().unwrap_or(0);
        if longest > self.max_position_embeddings {
            candle_core::bail!(
                "a sequence of {longest} tokens is longer than the model's {} positions",
                self.max_position_embeddings
            );
        }
        let mut x = ops::embedding(&(&self.embedding).into(), rows.ids())?; // (N, C)
        if let Positions::Learned(table) = &self.positions {
            x = ops::add(&x, &ops::embedding(&table.into(), rows.positions())?, None)?;
        }
        if let Some(table) = &self.token_types {
            x = ops::add(&x, &ops::embedding(&table.into(), &rows.ids().zeros_like()?)?, None)?;
        }
        normed(x, &self.embedding_norm)
    }
}

fn normed(x: Traced, norm: &Option<Norm>) -> Result<Traced> {
    norm.as_ref().map_or(Ok(x.clone()), |norm| norm.forward(&x))
}
