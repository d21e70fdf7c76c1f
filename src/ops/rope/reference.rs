//! `rope` in candle's own differentiable ops.

use candle_core::{Result, Tensor};

pub fn rope(qkv: &Tensor, cos: &Tensor, sin: &Tensor, num_rotated_heads: usize) -> Result<Tensor> {
    let (batch, seq_len, width) = qkv.dims3()?;
    let half = cos.dim(1)?;
    let heads = width / (2 * half);
    let x = qkv.contiguous()?.reshape((batch, seq_len, heads, 2 * half))?;
    let rotated = x.narrow(2, 0, num_rotated_heads)?;
    let (a, b) = (rotated.narrow(3, 0, half)?, rotated.narrow(3, half, half)?);
    let (cos, sin) = (cos.detach().unsqueeze(1)?, sin.detach().unsqueeze(1)?); // (T, 1, D / 2)
    let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
    let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
    let rotated = Tensor::cat(&[first, second], 3)?;
    let copied = x.narrow(2, num_rotated_heads, heads - num_rotated_heads)?;
    Tensor::cat(&[rotated, copied], 2)?.reshape(qkv.shape())
}
