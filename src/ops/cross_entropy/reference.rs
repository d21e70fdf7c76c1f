//! `cross_entropy` by candle-nn's `log_softmax`; in f32 where the logits are halves.

use candle_core::{D, DType, Result, Tensor};

use super::IGNORE_INDEX;

/// As [`super::cross_entropy`], differentiated by candle.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let halves = logits.dtype().size_in_bytes() < 4;
    let logits = if halves { logits.to_dtype(DType::F32)? } else { logits.clone() };
    let counted = targets.ne(IGNORE_INDEX)?;
    let targets = counted.where_cond(targets, &targets.zeros_like()?)?;

    let log_softmax = candle_nn::ops::log_softmax(&logits, D::Minus1)?;
    let losses = log_softmax.gather(&targets.unsqueeze(1)?, 1)?.squeeze(1)?.neg()?; // (N)
    counted.where_cond(&losses, &losses.zeros_like()?)
}
