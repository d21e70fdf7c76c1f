//! `add` in candle's own differentiable ops.

use candle_core::{Result, Tensor};

/// As [`super::add`], differentiated by candle.
pub fn add(residual: &Tensor, branch: &Tensor, factors: Option<&Tensor>) -> Result<Tensor> {
    match factors {
        Some(factors) => residual + (branch * factors)?,
        None => residual + branch,
    }
}
