//! `linear` in candle's own differentiable ops.

use candle_core::{Result, Tensor};

use super::WeightLayout;

/// As [`super::linear`], differentiated by candle.
pub fn linear(
    x: &Tensor,
    weights: &[&Tensor],
    bias: Option<&Tensor>,
    layout: WeightLayout,
) -> Result<Tensor> {
    let weight = match layout {
        WeightLayout::OutIn => Tensor::cat(weights, 0)?.t()?, // (I, O)
        WeightLayout::InOut => Tensor::cat(weights, 1)?,
    };
    let (inputs, outputs) = weight.dims2()?;
    let rows = x.contiguous()?.reshape(((), inputs))?; // (N, I)
    let mut y = rows.matmul(&weight)?; // (N, O)
    if let Some(bias) = bias {
        y = y.broadcast_add(bias)?;
    }
    let mut shape = x.dims().to_vec();
    shape[x.rank() - 1] = outputs;
    y.reshape(shape)
}
