//! Launches of AdamW over all parameters.

#![cfg(feature = "cuda")]

use candle_core::{DType, Result, Tensor};

use super::super::base::cuda::{self, Arg, Grid, Kernels, Table};
use super::super::base::elements::{expect_like, expect_shape};
use super::{AdamwParam, Clip, NAME};

static KERNELS: Kernels = cuda::kernels!("adamw");

/// Whether there are kernels for this update: parameters of f32 on a GPU, and a place to say that it was stopped.
pub fn fits(params: &[AdamwParam], clip: &Clip) -> bool {
    clip.halted.is_some() && params.iter().all(|p| cuda::runs(p.param) && p.param.dtype() == DType::F32)
}

/// One update of all parameters; see `adamw_all`.
pub fn update(params: &[AdamwParam], clip: &Clip) -> Result<()> {
    let Some(AdamwParam { param: first, update, .. }) = params.first() else { return Ok(()) };
    let device = cuda::device_of(first)?;
    let line = |p: &AdamwParam| {
        let len = p.param.elem_count();
        expect_shape(NAME, "grad", p.grad, p.param.dims())?;
        expect_shape(NAME, "moments", p.moments, &[&[2], p.param.dims()].concat())?;
        expect_like(NAME, "grad", p.grad, p.param)?;
        expect_like(NAME, "moments", p.moments, p.param)?;
        let copy = p.copy.map(|copy| cuda::address(copy)).transpose()?.unwrap_or(0);
        let m = cuda::address(p.moments)?;
        let addresses = [cuda::address(p.param)?, copy, m, m + 4 * len as u64, cuda::address(p.grad)?];
        Ok((addresses, len, [p.update.learning_rate as f32, p.update.weight_decay as f32]))
    };
    let table = Table::new(params.iter().map(line), first)?;
    let gate = gate(clip, first)?;
    let (correction1, correction2) = update.bias_corrections();
    let numbers = [update.beta1, update.beta2, update.eps, correction1, correction2.sqrt().recip()];
    let numbers = numbers.map(|number| Arg::F32(number as f32));
    let args = [&table.args()?[..], &[Arg::of(&gate)?], &numbers].concat();
    cuda::launch(device, &KERNELS, "adamw", table.grid(), &args)
}

/// What an update of parameters beside `like` goes by: the factor of the gradients, then 1, or 0 where nothing may
/// change.
pub fn gate(clip: &Clip, like: &Tensor) -> Result<Tensor> {
    let gate = cuda::empty(2, DType::F32, like.device())?;
    let args = [
        Arg::of(clip.norm)?,
        Arg::of(clip.loss)?,
        Arg::F64(clip.max_norm),
        Arg::of_option(clip.halted)?,
        Arg::of(&gate)?,
    ];
    let grid = Grid { blocks: [1, 1], threads: [32, 1], shared_bytes: 0 };
    cuda::launch(cuda::device_of(like)?, &KERNELS, "gate", grid, &args)?;
    Ok(gate)
}
