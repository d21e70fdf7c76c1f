//! How gradients are added up on a GPU.

#![cfg(feature = "cuda")]

use candle_core::{Result, Tensor};

use super::super::cuda::empty;
use super::{Gradient, GradientSums, Traced};

impl GradientSums {
    /// As [`add`](Self::add), where `kernel` writes a tensor, or adds to it when told so; it is of f32 where the
    /// input is a variable.
    pub(in crate::ops) fn add_on_gpu(
        &mut self,
        input: &Traced,
        kernel: impl FnOnce(&Tensor, bool) -> Result<()>,
    ) -> Result<()> {
        self.change(input, |sum| {
            let adds = sum.is_some();
            let mut sum = match sum {
                Some(sum) => sum.exclusive()?,
                None => Gradient::own(empty(input.dims(), input.gradient_dtype(), input.device())?),
            };
            if let Some(values) = sum.values_mut() {
                kernel(values, adds)?;
            }
            Ok(sum)
        })
    }
}
