//! `gelu_erf` in candle's own differentiable ops. Not `Tensor::gelu_erf`, whose gradient has constants rounded to six
//! digits (candle 0.11.1).

use std::f64::consts::FRAC_1_SQRT_2;

use candle_core::{Result, Tensor};

/// As [`super::gelu_erf`], differentiated by candle.
pub fn gelu_erf(x: &Tensor) -> Result<Tensor> {
    (x * 0.5)? * ((x * FRAC_1_SQRT_2)?.erf()? + 1.)?
}
