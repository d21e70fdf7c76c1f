//! `adamw` in candle's own ops, with a temporary for each of them.

use candle_core::{Result, Tensor, Var};

use super::AdamwStep;

pub fn adamw(param: &Var, moments: &Tensor, grad: &Tensor, update: &AdamwStep) -> Result<()> {
    let (correction1, correction2) = update.bias_corrections();
    let grad = (grad.detach() * update.grad_scale)?;
    let m = ((moments.get(0)? * update.beta1)? + (&grad * (1. - update.beta1))?)?;
    let v = ((moments.get(1)? * update.beta2)? + (grad.sqr()? * (1. - update.beta2))?)?;
    let root = ((&v / correction2)?.sqrt()? + update.eps)?;
    let kept = (param.as_detached_tensor() * (1. - update.learning_rate * update.weight_decay))?;
    param.set(&(kept - ((&m / correction1)? / root)? * update.learning_rate)?)?;
    moments.slice_set(&m.unsqueeze(0)?, 0, 0)?;
    moments.slice_set(&v.unsqueeze(0)?, 0, 1)
}
