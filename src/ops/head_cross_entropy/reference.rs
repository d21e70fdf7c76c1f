//! Head and cross-entropy in candle's own differentiable ops, with all (N, V) logits.

use candle_core::{Result, Tensor};

use super::super::cross_entropy::reference::cross_entropy;

/// The loss of each row.
pub fn losses(hidden: &Tensor, weight: &Tensor, targets: &Tensor) -> Result<Tensor> {
    cross_entropy(&hidden.matmul(&weight.t()?)?, targets)
}
