//! The gated activation of Llama's MLP.

mod cpu;
mod reference;
#[cfg(test)]
mod tests;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::elements::{Elements, detached, elements, last_dim};
use super::real::by_dtype;

const NAME: &str = "swiglu";

/// Multiplies the SiLU of the first half of each row with the second half.
///
/// y = silu(gate) up, silu(x) = x / (1 + exp(-x)).
/// Shapes: gate_up (.., 2I), gate first -> (.., I). Dtypes: f32, f64 on the CPU.
/// Gradient: gate_up.
/// Errors: a scalar or a last dimension that is odd.
/// Source: Shazeer 2020, arXiv 2002.05202, eq. 6 with beta = 1.
pub fn swiglu(gate_up: &Tensor) -> Result<Tensor> {
    let width = last_dim(NAME, "gate_up", gate_up)?;
    if !width.is_multiple_of(2) {
        bail!("{NAME}: expected gate_up of shape (.., 2I), got {:?}", gate_up.dims());
    }
    if !gate_up.device().is_cpu() {
        return reference::swiglu(gate_up);
    }
    gate_up.contiguous()?.apply_op1(Swiglu)
}

struct Swiglu;

impl CustomOp1 for Swiglu {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, gate_up: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut shape = layout.dims().to_vec();
        let last = shape.len() - 1;
        shape[last] /= 2;
        let half = shape[last];
        by_dtype!(NAME, gate_up.dtype(), T => {
            let y = cpu::forward(elements::<T>(NAME, gate_up, layout)?, half);
            Ok((T::to_cpu_storage_owned(y), shape.into()))
        })
    }

    fn bwd(&self, gate_up: &Tensor, y: &Tensor, d_y: &Tensor) -> Result<Option<Tensor>> {
        let half = last_dim(NAME, "y", y)?;
        let [gate_up, d_y] = detached([gate_up, d_y])?;
        by_dtype!(NAME, gate_up.dtype(), T => {
            let d = cpu::backward(&Elements::<T>::of(NAME, &gate_up)?, &Elements::of(NAME, &d_y)?, half);
            Ok(Some(Tensor::from_vec(d, gate_up.shape(), gate_up.device())?))
        })
    }
}
