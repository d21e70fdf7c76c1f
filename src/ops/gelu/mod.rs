//! The activation of GPT-2's MLP.

mod cpu;
mod reference;
#[cfg(test)]
mod tests;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::elements::{Elements, detached, elements};
use super::real::by_dtype;

const NAME: &str = "gelu";

/// Factor of x^3 in the formula.
const CUBIC: f64 = 0.044_715;

/// GELU in its tanh form (Hugging Face `gelu_new`), element by element.
///
/// y = x / 2 (1 + tanh(u)) with u = sqrt(2 / pi) (x + 0.044715 x^3).
/// Shapes: any -> the same. Dtypes: f32, f64 on the CPU.
/// Gradient: x.
/// Source: Hendrycks and Gimpel 2016, arXiv 1606.08415, section 2.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return reference::gelu(x);
    }
    x.contiguous()?.apply_op1(Gelu)
}

struct Gelu;

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_dtype!(NAME, x.dtype(), T => {
            let y = cpu::forward(elements::<T>(NAME, x, layout)?);
            Ok((T::to_cpu_storage_owned(y), layout.shape().clone()))
        })
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, d_y: &Tensor) -> Result<Option<Tensor>> {
        let [x, d_y] = detached([x, d_y])?;
        by_dtype!(NAME, x.dtype(), T => {
            let d_x = cpu::backward(&Elements::<T>::of(NAME, &x)?, &Elements::of(NAME, &d_y)?);
            Ok(Some(Tensor::from_vec(d_x, x.shape(), x.device())?))
        })
    }
}
