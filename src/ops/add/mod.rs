//! The residual stream: what a branch adds to it, with or without dropout.
//!
//! Its GPU kernel, which gradients are added up with too, is `base/cuda/combine.cu`.

mod cpu;
mod cuda;
mod reference;
#[cfg(test)]
mod tests;

use candle_core::{Result, Tensor};

use super::base::elements::{Elements, expect_like, expect_shape};
use super::base::gpu::on_gpu;
use super::base::real::by_dtype;
use super::base::tape::{Gradient, Traced, by_reference, record};

const NAME: &str = "add";

/// Adds a branch to the residual stream, each element of it times one of `factors` where there are any.
///
/// y = residual + branch * factors.
/// Shapes: all alike. Dtypes: f32; f64 on the CPU, bf16 on a GPU.
/// Gradient: residual, branch, in the same memory where there are no factors; none for the factors, which are
/// dropout's mask.
/// Errors: shape, dtype or device mismatch.
pub fn add(residual: &Traced, branch: &Traced, factors: Option<&Tensor>) -> Result<Traced> {
    for (name, tensor) in [("branch", Some(branch.value())), ("factors", factors)] {
        let Some(tensor) = tensor else { continue };
        expect_shape(NAME, name, tensor, residual.dims())?;
        expect_like(NAME, name, tensor, residual.value())?;
    }
    let (residual, branch) = (residual.contiguous()?, branch.contiguous()?);
    let factors = factors.map(Tensor::contiguous).transpose()?;
    on_gpu!(residual.value() => cuda::add(&residual, &branch, factors));
    if !residual.device().is_cpu() {
        return by_reference(&[&residual, &branch], move |t| reference::add(&t[0], &t[1], factors.as_ref()));
    }
    by_dtype!(NAME, residual.dtype(), T => {
        let y = {
            let factors = factors.as_ref().map(|factors| Elements::<T>::of(NAME, factors)).transpose()?;
            let a = Elements::of(NAME, residual.value())?;
            cpu::forward(&a, &Elements::of(NAME, branch.value())?, factors.as_deref())
        };
        let y = Tensor::from_vec(y, residual.dims(), residual.device())?;
        let (residual, branch) = (residual.place()?, branch.place()?);
        Ok(record(y, residual.is_tracked() || branch.is_tracked(), move |d_y, gradients| {
            let [d_residual, d_branch] = match &factors {
                Some(factors) => {
                    let d_branch = {
                        let d_y = Elements::<T>::of(NAME, d_y.values())?;
                        cpu::backward(&d_y, &Elements::of(NAME, factors)?)
                    };
                    [d_y, Gradient::new(d_branch, branch.dims())?]
                }
                None => d_y.share(),
            };
            gradients.add(&branch, d_branch)?;
            gradients.add(&residual, d_residual)
        }))
    })
}
