//! `rms_norm` in candle's own differentiable ops; in f32 where x is of halves.

use candle_core::{D, DType, Result, Tensor};

/// As [`super::rms_norm`], differentiated by candle.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let dtype = x.dtype();
    let x = if dtype.size_in_bytes() < 4 { x.to_dtype(DType::F32)? } else { x.clone() };
    let mean_square = x.sqr()?.mean_keepdim(D::Minus1)?;
    let normed = x.broadcast_div(&(mean_square + eps)?.sqrt()?)?;
    normed.to_dtype(dtype)?.broadcast_mul(weight)
}
