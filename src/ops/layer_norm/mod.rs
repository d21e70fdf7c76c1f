//! Layer normalisation of rows.

mod cpu;
mod cuda;
pub(super) mod reference;
#[cfg(test)]
mod tests;

use candle_core::{Result, Tensor};

use super::base::elements::{Elements, expect_like, expect_shape, last_dim};
use super::base::gpu::on_gpu;
use super::base::real::by_dtype;
use super::base::tape::{Gradient, Traced, by_reference, record};

const NAME: &str = "layer_norm";

/// Normalises each row to zero mean and unit variance, then scales and shifts its columns.
///
/// y = (x - mean) / sqrt(var + eps) * weight + bias, with the biased variance, taken about the mean.
/// Shapes: x (.., C), weight (C), bias (C) -> (.., C). Dtypes: f32; f64 on the CPU, bf16 on a GPU (sums in f32).
/// Units: eps in units of x^2.
/// Gradient: x, weight, bias; mean and variance are computed again in backward.
/// Errors: shape, dtype or device mismatch; never converts silently.
/// Source: Ba et al. 2016, arXiv 1607.06450, eq. 3-4.
pub fn layer_norm(x: &Traced, weight: &Traced, bias: &Traced, eps: f64) -> Result<Traced> {
    let columns = last_dim(NAME, "x", x.value())?;
    for (name, tensor) in [("weight", weight), ("bias", bias)] {
        expect_shape(NAME, name, tensor.value(), &[columns])?;
        expect_like(NAME, name, tensor.value(), x.value())?;
    }
    let (x, weight, bias) = (x.contiguous()?, weight.contiguous()?, bias.contiguous()?);
    on_gpu!(cuda::fits(columns), x.value() => cuda::layer_norm(&x, &weight, &bias, eps));
    if !x.device().is_cpu() {
        return by_reference(&[&x, &weight, &bias], move |t| reference::layer_norm(&t[0], &t[1], &t[2], eps));
    }
    by_dtype!(NAME, x.dtype(), T => {
        let eps = T::from_f64(eps);
        let y = cpu::forward(
            &Elements::<T>::of(NAME, x.value())?,
            &Elements::of(NAME, weight.value())?,
            &Elements::of(NAME, bias.value())?,
            eps,
        );
        let y = Tensor::from_vec(y, x.dims(), x.device())?;
        Ok(record(y, x.is_tracked() || weight.is_tracked() || bias.is_tracked(), move |d_y, gradients| {
            let onto = gradients.take(&x);
            let (d_x, d_weight, d_bias) = {
                let onto = onto.as_ref().map(|onto| Elements::of(NAME, onto.values())).transpose()?;
                cpu::backward(
                    &Elements::<T>::of(NAME, x.value())?,
                    &Elements::of(NAME, weight.value())?,
                    &Elements::of(NAME, d_y.values())?,
                    onto.as_deref(),
                    eps,
                )
            };
            gradients.add(&x, Gradient::new(d_x, x.dims())?)?;
            gradients.add(&weight, Gradient::new(d_weight, weight.dims())?)?;
            gradients.add(&bias, Gradient::new(d_bias, bias.dims())?)
        }))
    })
}
