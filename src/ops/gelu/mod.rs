//! The activation of GPT-2's MLP.

mod cpu;
mod cuda;
pub(super) mod reference;
#[cfg(test)]
mod tests;

use candle_core::{Result, Tensor};

use super::base::elements::Elements;
use super::base::gpu::on_gpu;
use super::base::real::by_dtype;
use super::base::tape::{Gradient, Traced, by_reference, record};

const NAME: &str = "gelu";

/// Factor of x^3 in the formula.
const CUBIC: f64 = 0.044_715;

/// GELU in its tanh form (Hugging Face `gelu_new`), element by element.
///
/// y = x / 2 (1 + tanh(u)) with u = sqrt(2 / pi) (x + 0.044715 x^3).
/// Shapes: any -> the same. Dtypes: f32; f64 on the CPU, bf16 on a GPU.
/// Gradient: x.
/// Source: Hendrycks and Gimpel 2016, arXiv 1606.08415, section 2.
pub fn gelu(x: &Traced) -> Result<Traced> {
    let x = x.contiguous()?;
    on_gpu!(x.value() => cuda::gelu(&x));
    if !x.device().is_cpu() {
        return by_reference(&[&x], |t| reference::gelu(&t[0]));
    }
    by_dtype!(NAME, x.dtype(), T => {
        let y = cpu::forward(&Elements::<T>::of(NAME, x.value())?);
        let y = Tensor::from_vec(y, x.dims(), x.device())?;
        Ok(record(y, x.is_tracked(), move |d_y, gradients| {
            let d_x = cpu::backward(&Elements::<T>::of(NAME, x.value())?, &Elements::of(NAME, d_y.values())?);
            gradients.add(&x, Gradient::new(d_x, x.dims())?)
        }))
    })
}
