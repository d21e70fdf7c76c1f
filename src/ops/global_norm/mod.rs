//! The norm of the gradient over all parameters, for clipping and for the log.

mod cpu;
mod cuda;
mod reference;
#[cfg(test)]
mod tests;

use candle_core::{Device, Result, Tensor};

use super::base::elements::Elements;
use super::base::gpu::on_gpu;
use super::base::real::by_dtype;

const NAME: &str = "global_norm";

/// The L2 norm over all elements of all gradients; not finite as soon as one element is not.
///
/// Shapes: any -> an f64 scalar on the gradients' device. Dtypes: f32, f64; any float type on a GPU. Chunks are
/// summed in the type of the gradient, their sums in f64 and in order.
/// It has no gradient of its own.
pub fn global_norm(gradients: &[&Tensor]) -> Result<Tensor> {
    on_gpu!(if cuda::fits(gradients) => cuda::norm(gradients));
    let mut squares = 0.;
    for gradient in gradients {
        squares += sum_of_squares(gradient)?;
    }
    Tensor::new(squares.sqrt(), gradients.first().map_or(&Device::Cpu, |gradient| gradient.device()))
}

fn sum_of_squares(x: &Tensor) -> Result<f64> {
    if !x.device().is_cpu() {
        return reference::sum_of_squares(x);
    }
    let x = x.contiguous()?;
    by_dtype!(NAME, x.dtype(), T => Ok(cpu::sum_of_squares::<T>(&Elements::of(NAME, &x)?)))
}
