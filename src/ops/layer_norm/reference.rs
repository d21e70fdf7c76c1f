//! `layer_norm` in candle's own differentiable ops; in f32 where x is of halves.

use candle_core::{D, DType, Result, Tensor};

/// As [`super::layer_norm`], differentiated by candle.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let dtype = x.dtype();
    let x = if dtype.size_in_bytes() < 4 { x.to_dtype(DType::F32)? } else { x.clone() };
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let normed = centred.broadcast_div(&(variance + eps)?.sqrt()?)?;
    normed.to_dtype(dtype)?.broadcast_mul(weight)?.broadcast_add(bias)
}
