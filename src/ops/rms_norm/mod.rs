//! Root-mean-square normalisation of rows.

mod cpu;
mod reference;
#[cfg(test)]
mod tests;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::elements::{Elements, detached, elements, expect_like, expect_shape, last_dim};
use super::real::by_dtype;

const NAME: &str = "rms_norm";

/// Divides each row by its root mean square, then scales its columns.
///
/// y = x / sqrt(mean(x^2) + eps) * weight.
/// Shapes: x (.., C), weight (C) -> (.., C). Dtypes: f32, f64 on the CPU.
/// Units: eps in units of x^2.
/// Gradient: x, weight; the mean square is computed again in backward.
/// Errors: shape, dtype or device mismatch; never converts silently.
/// Source: Zhang and Sennrich 2019, arXiv 1910.07467, eq. 4.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let columns = last_dim(NAME, "x", x)?;
    expect_shape(NAME, "weight", weight, &[columns])?;
    expect_like(NAME, "weight", weight, x)?;
    if !x.device().is_cpu() {
        return reference::rms_norm(x, weight, eps);
    }
    x.contiguous()?.apply_op2(&weight.contiguous()?, RmsNorm { eps })
}

struct RmsNorm {
    eps: f64,
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_dtype!(NAME, x.dtype(), T => {
            let weight = elements::<T>(NAME, weight, weight_layout)?;
            let y = cpu::forward(elements(NAME, x, x_layout)?, weight, T::from_f64(self.eps));
            Ok((T::to_cpu_storage_owned(y), x_layout.shape().clone()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _y: &Tensor,
        d_y: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [x, weight, d_y] = detached([x, weight, d_y])?;
        by_dtype!(NAME, x.dtype(), T => {
            let (d_x, d_weight) = cpu::backward(
                &Elements::<T>::of(NAME, &x)?,
                &Elements::of(NAME, &weight)?,
                &Elements::of(NAME, &d_y)?,
                T::from_f64(self.eps),
            );
            let d_x = Tensor::from_vec(d_x, x.shape(), x.device())?;
            Ok((Some(d_x), Some(Tensor::from_vec(d_weight, weight.shape(), weight.device())?)))
        })
    }
}
