//! Causal self-attention, over a whole sequence or against a key-value cache.

use candle_core::{D, DType, Device, Result, Tensor};

use super::dropout::Dropout;
use super::layers::{Linear, Source};
use super::spec::{BlockSpec, Sizes};
use super::token_rows::TokenRows;
use crate::ops::{self, Traced};

/// Query, key and value projections, attention, output projection.
pub(super) struct Attention {
    qkv: Linear,
    output: Linear,
    num_heads: usize,
    num_kv_heads: usize,
    head_dim: usize,
}

/// Keys and values of all positions seen so far, one pair (B, T, K * D) per layer.
#[derive(Default)]
pub struct KvCache {
    layers: Vec<Option<(Tensor, Tensor)>>,
    /// Positions held so far.
    pub(super) len: usize,
}

impl KvCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been seen.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends new keys and values (B, T, K * D) of `layer`; returns all of them.
    fn append(&mut self, layer: usize, k: Tensor, v: Tensor) -> Result<(Tensor, Tensor)> {
        if self.layers.len() <= layer {
            self.layers.resize(layer + 1, None);
        }
        let (k, v) = match self.layers[layer].take() {
            Some((old_k, old_v)) => (Tensor::cat(&[&old_k, &k], 1)?, Tensor::cat(&[&old_v, &v], 1)?),
            None => (k, v),
        };
        self.layers[layer] = Some((k.clone(), v.clone()));
        Ok((k, v))
    }
}

/// Rotary angles of each position: cosines and sines (P, D / 2).
#[derive(Clone)]
pub(super) struct Rotary {
    cos: Tensor,
    sin: Tensor,
}

impl Rotary {
    /// Tables for all positions the model accepts. Source: Su et al. 2021, arXiv 2104.09864.
    pub(super) fn new(sizes: &Sizes, theta: f64, device: &Device, dtype: DType) -> Result<Self> {
        let half = sizes.head_dim / 2;
        let positions = sizes.max_position_embeddings;
        let mut angles = Vec::with_capacity(positions * half);
        for position in 0..positions {
            for i in 0..half {
                angles.push(position as f64 / theta.powf(2.0 * i as f64 / sizes.head_dim as f64));
            }
        }
        let table = |f: fn(f64) -> f64| {
            let values: Vec<f64> = angles.iter().map(|angle| f(*angle)).collect();
            Tensor::from_vec(values, (positions, half), &Device::Cpu)?.to_dtype(dtype)?.to_device(device)
        };
        Ok(Self { cos: table(f64::cos)?, sin: table(f64::sin)? })
    }
}

impl Attention {
    /// Errors: a weight is missing.
    pub(super) fn new(sizes: &Sizes, spec: &BlockSpec, from: Source) -> Result<Self> {
        Ok(Self {
            qkv: Linear::new(&spec.qkv, from)?,
            output: Linear::new(&spec.attention_output, from)?,
            num_heads: sizes.num_attention_heads,
            num_kv_heads: sizes.num_key_value_heads,
            head_dim: sizes.head_dim,
        })
    }

    /// x (N, C) -> (N, C) over whole sequences.
    pub(super) fn forward(
        &self,
        x: &Traced,
        rows: &TokenRows,
        rotary: Option<&Rotary>,
        dropout: &Dropout,
    ) -> Result<Traced> {
        let qkv = self.projected(x, rows, rotary, dropout)?; // (N, (H + 2K) * D)
        let attended = ops::attention(&qkv, rows.lengths(), self.num_heads, self.num_kv_heads)?;
        self.output.forward(&attended, dropout)
    }

    /// x (N, C) -> (N, C) for new positions, as many in each sequence, that also see everything in `cache`.
    pub(super) fn forward_cached(
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
