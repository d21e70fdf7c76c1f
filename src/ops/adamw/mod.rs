//! AdamW updates in place: of one parameter, or of all at once with the gradient clipped.

mod cpu;
mod cuda;
mod reference;
#[cfg(test)]
mod tests;

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, Var, bail};

use super::base::elements::{elements, elements_mut, expect_like, expect_shape};
use super::base::gpu::on_gpu;
use super::base::real::by_dtype;

#[cfg(feature = "cuda")]
pub(super) use cuda::gate;

const NAME: &str = "adamw";

/// The numbers of one update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamwStep {
    /// Step size, after the schedule.
    pub learning_rate: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the second moment, in units of the gradient.
    pub eps: f64,
    /// Decoupled weight decay; it is multiplied by the learning rate.
    pub weight_decay: f64,
    /// Which update this is, counted from 1.
    pub step: u64,
    /// Multiplies the gradient first: the clipping factor, or 1.
    pub grad_scale: f64,
}

impl AdamwStep {
    /// 1 - beta^step for both moments, which start at zero.
    fn bias_corrections(&self) -> (f64, f64) {
        let step = self.step as f64;
        (1. - self.beta1.powf(step), 1. - self.beta2.powf(step))
    }
}

/// Moves a parameter along its gradient and updates the gradient's moments.
///
/// With g = grad_scale * grad: m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2,
/// p = p - lr weight_decay p - lr (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps).
/// Shapes: param and grad alike, moments (2, ..) of it: m, then v. Dtypes: f32, f64.
/// In place: param and moments; it has no gradient of its own.
/// Errors: shape, dtype or device mismatch, moments or param not contiguous, a step 0.
/// Source: Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2, with the decay scaled by the learning
/// rate as in `torch.optim.AdamW`.
pub fn adamw(param: &Var, moments: &Tensor, grad: &Tensor, update: &AdamwStep) -> Result<()> {
    expect_shape(NAME, "grad", grad, param.dims())?;
    expect_shape(NAME, "moments", moments, &[&[2], param.dims()].concat())?;
    for (name, tensor) in [("grad", grad), ("moments", moments)] {
        expect_like(NAME, name, tensor, param)?;
    }
    if update.step == 0 {
        bail!("{NAME}: expected steps counted from 1, got 0");
    }
    if !param.device().is_cpu() {
        return reference::adamw(param, moments, grad, update);
    }
    moments.inplace_op2(&grad.detach().contiguous()?, &UpdateMoments(*update))?;
    param.inplace_op2(moments, &UpdateParam(*update))
}

/// One parameter of an update of all.
pub struct AdamwParam<'a> {
    /// Changed in place.
    pub param: &'a Var,
    /// What the model computes with in its place, where that is of another type; it follows.
    pub copy: Option<&'a Var>,
    /// (2, ..) of the parameter, changed in place.
    pub moments: &'a Tensor,
    /// The gradient before clipping.
    pub grad: &'a Tensor,
    /// The numbers of the update; `grad_scale` is left to [`Clip`].
    pub update: AdamwStep,
}

/// Whether and how far an update goes, from numbers that may still be on their way on the device.
pub struct Clip<'a> {
    /// f64 scalar.
    pub loss: &'a Tensor,
    /// Global norm of the gradient, f64 scalar.
    pub norm: &'a Tensor,
    /// The gradient is scaled down to this norm; 0 for never.
    pub max_norm: f64,
    /// On a GPU, one u32: not 0 once loss or norm were not finite. Then this and all later updates change
    /// nothing, so the host need not wait to look.
    pub halted: Option<&'a Tensor>,
}

impl Clip<'_> {
    /// What gradients are multiplied by, on the host.
    pub(super) fn factor(&self) -> Result<f64> {
        let norm = self.norm.to_scalar::<f64>()?;
        let clips = self.max_norm > 0. && norm > self.max_norm;
        Ok(if clips { self.max_norm / norm } else { 1. })
    }
}

/// Updates all parameters as [`adamw`] does, with the gradient clipped to a global norm.
///
/// Errors: as [`adamw`]; off the GPU, a loss or norm that is not finite is for the caller to look at first.
pub fn adamw_all(params: &[AdamwParam], clip: &Clip) -> Result<()> {
    on_gpu!(if cuda::fits(params, clip) => cuda::update(params, clip));
    let grad_scale = clip.factor()?;
    for AdamwParam { param, copy, moments, grad, update } in params {
        adamw(param, moments, grad, &AdamwStep { grad_scale, ..*update })?;
        if let Some(copy) = copy {
            copy.set(&param.as_detached_tensor().to_dtype(copy.dtype())?)?;
        }
    }
    Ok(())
}

/// moments from grad.
struct UpdateMoments(AdamwStep);

impl InplaceOp2 for UpdateMoments {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        moments: &mut CpuStorage,
        moments_layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> Result<()> {
        by_dtype!(NAME, grad.dtype(), T => {
            let grad = elements::<T>(NAME, grad, grad_layout)?;
            cpu::update_moments(elements_mut(NAME, moments, moments_layout)?, grad, &self.0);
            Ok(())
        })
    }
}

/// param from moments.
struct UpdateParam(AdamwStep);

impl InplaceOp2 for UpdateParam {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        param: &mut CpuStorage,
        param_layout: &Layout,
        moments: &CpuStorage,
        moments_layout: &Layout,
    ) -> Result<()> {
        by_dtype!(NAME, moments.dtype(), T => {
            let moments = elements::<T>(NAME, moments, moments_layout)?;
            cpu::update_param(elements_mut(NAME, param, param_layout)?, moments, &self.0);
            Ok(())
        })
    }
}
