//! Muon updates in place: a matrix moves by its momentum made orthogonal.
//!
//! No `cuda.cu`: on a GPU the reference runs, whose time is that of products.

mod cpu;
mod cuda;
mod reference;
#[cfg(test)]
mod tests;

use candle_core::{Result, Tensor, Var};

use super::adamw::Clip;
use super::base::elements::{Elements, change_in_place, expect_like, expect_shape};
use super::base::gpu::on_gpu;
use super::base::real::by_dtype;

const NAME: &str = "muon";
/// One step of Newton and Schulz's iteration: X = a X + b X X^T X + c X X^T X X^T X.
const COEFFICIENTS: [f64; 3] = [3.4445, -4.7750, 2.0315];
/// Steps of it.
const ITERATIONS: usize = 5;
/// Added to the norm that a matrix is divided by.
const EPS: f64 = 1e-7;

/// The numbers of one update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MuonStep {
    /// Step size of AdamW, after the schedule.
    pub learning_rate: f64,
    /// Decay of the sum of gradients.
    pub momentum: f64,
    /// Decoupled weight decay; it is multiplied by the learning rate.
    pub weight_decay: f64,
    /// Multiplies the gradient first: the clipping factor, or 1.
    pub grad_scale: f64,
}

impl MuonStep {
    /// What an orthogonal direction of this shape is multiplied by.
    ///
    /// The root of the mean square of its elements is 1 / sqrt(max(R, C)), that of AdamW's updates about 0.2; made
    /// equal, both take the same learning rates and weight decay. Source: Liu et al. 2025, arXiv 2502.16982, section 2.2.
    fn step_size(&self, rows: usize, columns: usize) -> f64 {
        0.2 * (rows.max(columns) as f64).sqrt() * self.learning_rate
    }
}

/// Moves a matrix along its momentum with all singular values near 1.
///
/// With g = grad_scale * grad: m = momentum m + g, p = p - lr weight_decay p - lr 0.2 sqrt(max(R, C)) O(g + momentum m),
/// where O replaces the singular values of a matrix by numbers of about 0.7 to 1.2: divided by its Frobenius norm, five
/// times X = 3.4445 X - 4.7750 X X^T X + 2.0315 X X^T X X^T X.
/// Shapes: param, momentum and grad (R, C). Dtypes: f32, f64.
/// In place: param and momentum; it has no gradient of its own.
/// Errors: shape, dtype or device mismatch, momentum or param not contiguous.
/// Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; scale and decay of Liu et al.
/// 2025, arXiv 2502.16982.
pub fn muon(param: &Var, momentum: &Tensor, grad: &Tensor, update: &MuonStep) -> Result<()> {
    check(param, momentum, grad)?;
    if !param.device().is_cpu() {
        let gate = reference::Gate::open(update.grad_scale, param)?;
        return reference::muon(param, momentum, grad, update, &gate);
    }
    let (rows, columns) = param.dims2()?;
    let grad = grad.detach().contiguous()?;
    by_dtype!(NAME, grad.dtype(), T => {
        let grad = Elements::<T>::of(NAME, &grad)?;
        let mut direction = Vec::new();
        change_in_place(momentum, |momentum| direction = cpu::update_momentum(momentum, &grad, update))?;
        let direction = cpu::orthogonalized::<T>(direction, rows, columns);
        change_in_place(param, |param| cpu::update_param(param, &direction, columns, update))
    })
}

fn check(param: &Var, momentum: &Tensor, grad: &Tensor) -> Result<()> {
    param.dims2()?;
    for (name, tensor) in [("grad", grad), ("momentum", momentum)] {
        expect_shape(NAME, name, tensor, param.dims())?;
        expect_like(NAME, name, tensor, param)?;
    }
    Ok(())
}

/// One matrix of an update of all.
pub struct MuonParam<'a> {
    /// (R, C), changed in place.
    pub param: &'a Var,
    /// What the model computes with in its place, where that is of another type; it follows.
    pub copy: Option<&'a Var>,
    /// (R, C), changed in place.
    pub momentum: &'a Tensor,
    /// The gradient before clipping.
    pub grad: &'a Tensor,
    /// The numbers of the update; `grad_scale` is left to [`Clip`].
    pub update: MuonStep,
}

/// Updates all matrices as [`muon`] does, with the gradient clipped to a global norm. The host waits for no device.
///
/// Errors: as [`muon`]; off the GPU, a loss or norm that is not finite is for the caller to look at first.
pub fn muon_all(params: &[MuonParam], clip: &Clip) -> Result<()> {
    update_all(params, clip)?;
    for MuonParam { param, copy, .. } in params {
        if let Some(copy) = copy {
            copy.set(&param.as_detached_tensor().to_dtype(copy.dtype())?)?;
        }
    }
    Ok(())
}

fn update_all(params: &[MuonParam], clip: &Clip) -> Result<()> {
    on_gpu!(if clip.halted.is_some() => cuda::update(params, clip));
    let grad_scale = clip.factor()?;
    for MuonParam { param, momentum, grad, update, .. } in params {
        muon(param, momentum, grad, &MuonStep { grad_scale, ..*update })?;
    }
    Ok(())
}
