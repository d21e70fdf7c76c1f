//! The gated activation of Llama's MLP.

mod cpu;
mod cuda;
pub(super) mod reference;
#[cfg(test)]
mod tests;

use candle_core::{Result, Tensor, bail};

use super::base::elements::{Elements, last_dim};
use super::base::gpu::on_gpu;
use super::base::real::by_dtype;
use super::base::tape::{Gradient, Traced, by_reference, record};

const NAME: &str = "swiglu";

/// Multiplies the SiLU of the first half of each row with the second half.
///
/// y = silu(gate) up, silu(x) = x / (1 + exp(-x)).
/// Shapes: gate_up (.., 2I), gate first -> (.., I). Dtypes: f32; f64 on the CPU, bf16 on a GPU.
/// Gradient: gate_up.
/// Errors: a scalar or a last dimension that is odd.
/// Source: Shazeer 2020, arXiv 2002.05202, eq. 6 with beta = 1.
pub fn swiglu(gate_up: &Traced) -> Result<Traced> {
    let width = last_dim(NAME, "gate_up", gate_up.value())?;
    if !width.is_multiple_of(2) {
        bail!("{NAME}: expected gate_up of shape (.., 2I), got {:?}", gate_up.dims());
    }
    let gate_up = gate_up.contiguous()?;
    let half = width / 2;
    let shape = [&gate_up.dims()[..gate_up.dims().len() - 1], &[half]].concat();
    on_gpu!(gate_up.value() => cuda::swiglu(&gate_up, &shape));
    if !gate_up.device().is_cpu() {
        return by_reference(&[&gate_up], |t| reference::swiglu(&t[0]));
    }
    by_dtype!(NAME, gate_up.dtype(), T => {
        let y = cpu::forward(&Elements::<T>::of(NAME, gate_up.value())?, half);
        let y = Tensor::from_vec(y, shape, gate_up.device())?;
        Ok(record(y, gate_up.is_tracked(), move |d_y, gradients| {
            let d = cpu::backward(&Elements::<T>::of(NAME, gate_up.value())?, &Elements::of(NAME, d_y.values())?, half);
            gradients.add(&gate_up, Gradient::new(d, gate_up.dims())?)
        }))
    })
}
