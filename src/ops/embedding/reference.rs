//! `embedding` in candle's own differentiable ops.

use candle_core::{Result, Tensor};

/// As [`super::embedding`], differentiated by candle.
pub fn embedding(weight: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let shape = [ids.dims(), &[weight.dim(1)?]].concat();
    weight.contiguous()?.index_select(&ids.flatten_all()?, 0)?.reshape(shape)
}
