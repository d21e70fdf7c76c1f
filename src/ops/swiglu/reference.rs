//! `swiglu` in candle's own differentiable ops.

use candle_core::{D, Result, Tensor};

/// As [`super::swiglu`], differentiated by candle.
pub fn swiglu(gate_up: &Tensor) -> Result<Tensor> {
    let half = gate_up.dim(D::Minus1)? / 2;
    let gate = gate_up.narrow(D::Minus1, 0, half)?;
    gate.silu()? * gate_up.narrow(D::Minus1, half, half)?
}
