//! `add` in candle's own differentiable ops.

use candle_core::{Result, Tensor};

pub fn add(residual: &Tensor, branch: &Tensor, factors: Option<&Tensor>) -> Result<Tensor> {
    match factors {
        Some(factors) => residual + (branch * factors)?,
        None => residual + branch,
    }
}
