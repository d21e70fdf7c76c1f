//! `muon` in candle's own ops around products; what clips and halts it may still be on its way on the device.

use candle_core::{DType, Result, Tensor, Var};

use super::super::linear::{WeightLayout, linear};
use super::{COEFFICIENTS, EPS, ITERATIONS, MuonStep};

/// Whether and how far an update goes.
pub struct Gate {
    /// Multiplies the gradients; a scalar of their type.
    pub scale: Tensor,
    /// A u32 scalar: 0 where nothing may change.
    pub go: Tensor,
}

impl Gate {
    /// An update of `param` that goes on.
    pub fn open(grad_scale: f64, param: &Tensor) -> Result<Self> {
        let scale = Tensor::new(grad_scale, param.device())?.to_dtype(param.dtype())?;
        Ok(Self { scale, go: Tensor::ones((), DType::U32, param.device())? })
    }
}

pub fn muon(param: &Var, momentum: &Tensor, grad: &Tensor, update: &MuonStep, gate: &Gate) -> Result<()> {
    let (rows, columns) = param.dims2()?;
    let grad = grad.detach().broadcast_mul(&gate.scale)?;
    let sum = ((momentum * update.momentum)? + &grad)?;
    let direction = orthogonalized(&(grad + (&sum * update.momentum)?)?)?;
    let old = param.as_detached_tensor();
    let kept = (&old * (1. - update.learning_rate * update.weight_decay))?;
    let new = (kept - direction * update.step_size(rows, columns))?;
    let go = gate.go.broadcast_as(param.shape())?;
    param.set(&go.where_cond(&new, &old)?)?;
    momentum.slice_set(&go.where_cond(&sum, momentum)?, 0, 0)
}

/// The matrix with its singular values brought near 1.
fn orthogonalized(x: &Tensor) -> Result<Tensor> {
    let (rows, columns) = x.dims2()?;
    if rows > columns {
        return orthogonalized(&x.t()?.contiguous()?)?.t()?.contiguous();
    }
    let product = |a: &Tensor, b: &Tensor, layout: WeightLayout| -> Result<Tensor> {
        Ok(linear(&a.into(), &[b.into()], None, layout)?.value().clone())
    };
    let [a, b, c] = COEFFICIENTS;
    let norm = (x.sqr()?.sum_all()?.sqrt()? + EPS)?;
    let mut x = x.broadcast_div(&norm)?; // (R, C), R <= C
    for _ in 0..ITERATIONS {
        let gram = product(&x, &x, WeightLayout::OutIn)?; // (R, R)
        let square = product(&gram, &gram, WeightLayout::OutIn)?;
        let rest = ((gram * b)? + (square * c)?)?;
        x = ((&x * a)? + product(&rest, &x, WeightLayout::InOut)?)?;
    }
    Ok(x)
}
