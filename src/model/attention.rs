//! Causal self-attention of both families, over a whole sequence or against a key-value cache.

use candle_core::{D, DType, Device, Result, Tensor};

use super::config::ModelConfig;
use super::dropout::Dropout;
use super::layers::Linear;
use super::lora::LoraConfig;
use super::params::Weights;
use super::transformer::TokenRows;
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
    pub(super) fn new(config: &ModelConfig, theta: f64, device: &Device, dtype: DType) -> Result<Self> {
        let half = config.head_dim() / 2;
        let positions = config.max_position_embeddings();
        let mut angles = Vec::with_capacity(positions * half);
        for position in 0..positions {
            for i in 0..half {
                angles.push(position as f64 / theta.powf(2.0 * i as f64 / config.head_dim() as f64));
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
    /// The attention of block `layer`.
    pub(super) fn new(
        config: &ModelConfig,
        weights: &Weights,
        lora: Option<&LoraConfig>,
        layer: usize,
    ) -> Result<Self> {
        let (qkv, output) = match config {
            ModelConfig::Llama(_) => {
                let at = |name: &str| format!("model.layers.{layer}.self_attn.{name}");
                let qkv = Linear::stacked(weights, lora, &[at("q_proj"), at("k_proj"), at("v_proj")])?;
                (qkv, Linear::stacked(weights, lora, &[at("o_proj")])?)
            }
            ModelConfig::Gpt2(_) => {
                let at = |name: &str| format!("transformer.h.{layer}.attn.{name}");
                (Linear::conv1d(weights, lora, at("c_attn"))?, Linear::conv1d(weights, lora, at("c_proj"))?)
            }
        };
        Ok(Self {
            qkv,
            output,
            num_heads: config.num_attention_heads(),
            num_kv_heads: config.num_key_value_heads(),
            head_dim: config.head_dim(),
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

    /// Queries, keys and values side by side, rotated where the family does so.
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
