//! `rope` in candle's own differentiable ops.

use candle_core::{Result, Tensor};

/// As [`super::rope`], differentiated by candle.
pub fn rope(
    qkv: &Tensor,
    positions: &Tensor,
    cos: &Tensor,
    sin: &Tensor,
    num_rotated_heads: usize,
) -> Result<Tensor> {
    let (rows, width) = qkv.dims2()?;
    let half = cos.dim(1)?;
    let heads = width / (2 * half);
    let x = qkv.contiguous()?.reshape((rows, heads, 2 * half))?;
    let rotated = x.narrow(1, 0, num_rotated_heads)?;
    let (a, b) = (rotated.narrow(2, 0, half)?, rotated.narrow(2, half, half)?);
    let angles = |table: &Tensor| table.detach().contiguous()?.index_select(positions, 0)?.unsqueeze(1);
    let (cos, sin) = (angles(cos)?, angles(sin)?); // (N, 1, D / 2)
    let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
    let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
    let rotated = Tensor::cat(&[first, second], 2)?;
    let copied = x.narrow(1, num_rotated_heads, heads - num_rotated_heads)?;
    Tensor::cat(&[rotated, copied], 1)?.reshape(qkv.shape())
}
