//! Root-mean-square normalisation of rows.

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

const NAME: &str = "rms_norm";

/// Divides each row by its root mean square, then scales its columns.
///
/// y = x / sqrt(mean(x^2) + eps) * weight.
/// Shapes: x (.., C), weight (C) -> (.., C). Dtypes: f32; f64 on the CPU, bf16 on a GPU (sums in f32).
/// Units: eps in units of x^2.
/// Gradient: x, weight; the mean square is computed again in backward.
/// Errors: shape, dtype or device mismatch; never converts silently.
/// Source: Zhang and Sennrich 2019, arXiv 1910.07467, eq. 4.
pub fn rms_norm(x: &Traced, weight: &Traced, eps: f64) -> Result<Traced> {
    let columns = last_dim(NAME, "x", x.value())?;
    expect_shape(NAME, "weight", weight.value(), &[columns])?;
    expect_like(NAME, "weight", weight.value(), x.value())?;
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    on_gpu!(cuda::fits(columns), x.value() => cuda::rms_norm(&x, &weight, eps));
    if !x.device().is_cpu() {
        return by_reference(&[&x, &weight], move |t| reference::rms_norm(&t[0], &t[1], eps));
    }
    by_dtype!(NAME, x.dtype(), T => {
        let eps = T::from_f64(eps);
        let y = cpu::forward(&Elements::<T>::of(NAME, x.value())?, &Elements::of(NAME, weight.value())?, eps);
        let y = Tensor::from_vec(y, x.dims(), x.device())?;
        Ok(record(y, x.is_tracked() || weight.is_tracked(), move |d_y, gradients| {
            let onto = gradients.take(&x);
            let (d_x, d_weight) = {
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
            gradients.add(&weight, Gradient::new(d_weight, weight.dims())?)
        }))
    })
}
