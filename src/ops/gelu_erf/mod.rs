//! The activation of BERT's MLP.

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

const NAME: &str = "gelu_erf";

/// GELU by the error function (Hugging Face `gelu`), element by element.
///
/// y = x P(x), with P the distribution function of the standard normal: P(x) = (1 + erf(x / sqrt(2))) / 2.
/// Shapes: any -> the same. Dtypes: f32; f64 on the CPU, bf16 on a GPU.
/// Gradient: x.
/// Source: Hendrycks and Gimpel 2016, arXiv 1606.08415, section 2.
pub fn gelu_erf(x: &Traced) -> Result<Traced> {
    let x = x.contiguous()?;
    on_gpu!(x.value() => cuda::gelu_erf(&x));
    if !x.device().is_cpu() {
        return by_reference(&[&x], |t| reference::gelu_erf(&t[0]));
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
