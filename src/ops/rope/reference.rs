//! `rope` by candle-nn, of the heads that are rotated.

use candle_core::{Result, Tensor};
use candle_nn::rotary_emb::rope_slow;

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
    let rotated = x.narrow(1, 0, num_rotated_heads)?.transpose(0, 1)?.unsqueeze(0)?; // (1, heads, N, D)
    let angles = |table: &Tensor| table.detach().contiguous()?.index_select(positions, 0); // (N, D / 2)
    let rotated = rope_slow(&rotated, &angles(cos)?, &angles(sin)?)?.squeeze(0)?.transpose(0, 1)?;
    let copied = x.narrow(1, num_rotated_heads, heads - num_rotated_heads)?;
    Tensor::cat(&[rotated, copied], 1)?.reshape(qkv.shape())
}
