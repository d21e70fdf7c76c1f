//! Attention in candle's own differentiable ops, with all T x T scores.

use candle_core::{D, DType, Device, Result, Tensor};

use super::super::base::elements::{expect_like, expect_shape};
use super::{Mask, NAME, expect_groups};

/// As [`super::attention`], differentiated by candle.
pub fn attention(
    qkv: &Tensor,
    lengths: &[usize],
    num_heads: usize,
    num_kv_heads: usize,
    mask: Mask,
) -> Result<Tensor> {
    let width = qkv.dim(1)?;
    let head_dim = width / (num_heads + 2 * num_kv_heads);
    let (q_width, kv_width) = (num_heads * head_dim, num_kv_heads * head_dim);
    let batch = |qkv: &Tensor, batch: usize, seq_len: usize| {
        let qkv = qkv.reshape((batch, seq_len, width))?;
        let q = qkv.narrow(2, 0, q_width)?;
        let k = qkv.narrow(2, q_width, kv_width)?;
        let v = qkv.narrow(2, q_width + kv_width, kv_width)?;
        masked(&q, &k, &v, num_heads, num_kv_heads, mask)?.reshape((batch * seq_len, q_width))
    };
    if let [first, rest @ ..] = lengths
        && rest.iter().all(|length| length == first)
    {
        return batch(qkv, lengths.len(), *first);
    }
    let mut start = 0;
    let mut parts = Vec::with_capacity(lengths.len());
    for &length in lengths {
        parts.push(batch(&qkv.narrow(0, start, length)?, 1, length)?);
        start += length;
    }
    Tensor::cat(&parts, 0)
}

/// Attention of new positions over a cache that ends with them, for generation.
///
/// Query i of T_q sees the keys up to T_k - T_q + i; otherwise as [`attention`](super::attention).
/// Shapes: q (B, T_q, H D), k and v (B, T_k, K D) with T_k >= T_q -> (B, T_q, H D).
/// Gradient: q, k, v, by candle's own ops.
/// Errors: shape, dtype or device mismatch, H not a multiple of K, fewer keys than queries.
pub fn attention_cached(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    num_heads: usize,
    num_kv_heads: usize,
) -> Result<Tensor> {
    expect_groups(num_heads, num_kv_heads)?;
    let (batch, q_len, width) = q.dims3()?;
    let k_len = k.dim(1)?;
    let head_dim = width / num_heads;
    expect_shape(NAME, "q", q, &[batch, q_len, num_heads * head_dim])?;
    for (name, tensor) in [("k", k), ("v", v)] {
        expect_shape(NAME, name, tensor, &[batch, k_len, num_kv_heads * head_dim])?;
        expect_like(NAME, name, tensor, q)?;
    }
    if k_len < q_len {
        candle_core::bail!("{NAME}: expected at least {q_len} keys, got {k_len}");
    }
    masked(q, k, v, num_heads, num_kv_heads, Mask::Causal)
}

/// q (B, T_q, H D), k and v (B, T_k, K D) -> (B, T_q, H D).
fn masked(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    num_heads: usize,
    num_kv_heads: usize,
    mask: Mask,
) -> Result<Tensor> {
    let ((batch, q_len, width), k_len) = (q.dims3()?, k.dim(1)?);
    let (head_dim, group) = (width / num_heads, num_heads / num_kv_heads);

    // The query heads that share a key-value head stand under each other.
    let q = q.reshape((batch, q_len, num_kv_heads, group, head_dim))?.permute((0, 2, 3, 1, 4))?;
    let q = q.contiguous()?.reshape((batch, num_kv_heads, group * q_len, head_dim))?;
    let split = |tensor: &Tensor| {
        tensor.reshape((batch, k_len, num_kv_heads, head_dim))?.transpose(1, 2)?.contiguous()
    };
    let (k, v) = (split(k)?, split(v)?); // (B, K, T_k, D)

    let scores = (q.matmul(&k.t()?)? * (head_dim as f64).powf(-0.5))?;
    let mut scores = scores.reshape((batch, num_kv_heads, group, q_len, k_len))?;
    if mask == Mask::Causal {
        scores = scores.broadcast_add(&causal_mask(q_len, k_len, scores.dtype(), q.device())?)?;
    }
    let weights = softmax(&scores)?;
    let y = weights.reshape((batch, num_kv_heads, group * q_len, k_len))?.matmul(&v)?;
    let y = y.reshape((batch, num_kv_heads, group, q_len, head_dim))?.permute((0, 3, 1, 2, 4))?;
    y.contiguous()?.reshape((batch, q_len, width))
}

/// 0 where query i may see key j, negative infinity elsewhere: (T_q, T_k).
fn causal_mask(q_len: usize, k_len: usize, dtype: DType, device: &Device) -> Result<Tensor> {
    let seen = k_len - q_len;
    let mask: Vec<f32> = (0..q_len)
        .flat_map(|i| (0..k_len).map(move |j| if j <= seen + i { 0. } else { f32::NEG_INFINITY }))
        .collect();
    Tensor::from_vec(mask, (q_len, k_len), device)?.to_dtype(dtype)
}

/// Over the last dimension, in f32 where the scores are halves.
fn softmax(scores: &Tensor) -> Result<Tensor> {
    let dtype = scores.dtype();
    let scores = if dtype.size_in_bytes() < 4 { scores.to_dtype(DType::F32)? } else { scores.clone() };
    candle_nn::ops::softmax(&scores, D::Minus1)?.to_dtype(dtype)
}
