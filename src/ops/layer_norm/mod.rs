//! Layer normalisation of rows.

mod cpu;
mod reference;
#[cfg(test)]
mod tests;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

use super::elements::{Elements, detached, elements, expect_like, expect_shape, last_dim};
use super::real::by_dtype;

const NAME: &str = "layer_norm";

/// Normalises each row to zero mean and unit variance, then scales and shifts its columns.
///
/// y = (x - mean) / sqrt(var + eps) * weight + bias, with the biased variance, taken about the mean.
/// Shapes: x (.., C), weight (C), bias (C) -> (.., C). Dtypes: f32, f64 on the CPU.
/// Units: eps in units of x^2.
/// Gradient: x, weight, bias; mean and variance are computed again in backward.
/// Errors: shape, dtype or device mismatch; never converts silently.
/// Source: Ba et al. 2016, arXiv 1607.06450, eq. 3-4.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let columns = last_dim(NAME, "x", x)?;
    for (name, tensor) in [("weight", weight), ("bias", bias)] {
        expect_shape(NAME, name, tensor, &[columns])?;
        expect_like(NAME, name, tensor, x)?;
    }
    if !x.device().is_cpu() {
        return reference::layer_norm(x, weight, bias, eps);
    }
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, LayerNorm { eps })
}

struct LayerNorm {
    eps: f64,
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_dtype!(NAME, x.dtype(), T => {
            let weight = elements::<T>(NAME, weight, weight_layout)?;
            let bias = elements(NAME, bias, bias_layout)?;
            let y = cpu::forward(elements(NAME, x, x_layout)?, weight, bias, T::from_f64(self.eps));
            Ok((T::to_cpu_storage_owned(y), x_layout.shape().clone()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        d_y: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [x, weight, d_y] = detached([x, weight, d_y])?;
        by_dtype!(NAME, x.dtype(), T => {
            let (d_x, d_weight, d_bias) = cpu::backward(
                &Elements::<T>::of(NAME, &x)?,
                &Elements::of(NAME, &weight)?,
                &Elements::of(NAME, &d_y)?,
                T::from_f64(self.eps),
            );
            Ok((
                Some(Tensor::from_vec(d_x, x.shape(), x.device())?),
                Some(Tensor::from_vec(d_weight, weight.shape(), weight.device())?),
                Some(Tensor::from_vec(d_bias, bias.shape(), bias.device())?),
            ))
        })
    }
}
