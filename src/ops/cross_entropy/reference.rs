//! `cross_entropy` in candle's own differentiable ops; in f32 where the logits are halves.

use candle_core::{D, DType, Result, Tensor};

use super::IGNORE_INDEX;

/// As [`super::cross_entropy`], differentiated by candle.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let halves = logits.dtype().size_in_bytes() < 4;
    let logits = if halves { logits.to_dtype(DType::F32)? } else { logits.clone() };
    let counted = targets.ne(IGNORE_INDEX)?;
    let targets = counted.where_cond(targets, &targets.zeros_like()?)?;

    // The maximum only guards against overflow, so it takes no part in the gradient.
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let log_sum = shifted.exp()?.sum(D::Minus1)?.log()?; // (N)
    let target_logits = shifted.gather(&targets.unsqueeze(1)?, 1)?.squeeze(1)?; // (N)
    let losses = (log_sum - target_logits)?;
    counted.where_cond(&losses, &losses.zeros_like()?)
}
