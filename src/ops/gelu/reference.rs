//! `gelu` in candle's own differentiable ops. Not `Tensor::gelu`, whose gradient has constants rounded to six
//! digits (candle 0.11.1).

use std::f64::consts::FRAC_2_PI;

use candle_core::{Result, Tensor};

use super::CUBIC;

/// As [`super::gelu`], differentiated by candle.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    let cube = (x.sqr()? * x)?;
    let u = ((x + (cube * CUBIC)?)? * FRAC_2_PI.sqrt())?;
    (x * 0.5)? * (u.tanh()? + 1.)?
}
