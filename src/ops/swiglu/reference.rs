//! `swiglu` by candle-nn.

use candle_core::{Result, Tensor};

/// As [`super::swiglu`], differentiated by candle.
pub fn swiglu(gate_up: &Tensor) -> Result<Tensor> {
    candle_nn::ops::swiglu(gate_up)
}
