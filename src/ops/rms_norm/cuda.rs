//! Launches of the RMS norm kernels.

#![cfg(feature = "cuda")]

use candle_core::{DType, Result, Tensor};

use super::super::base::cuda::{self, Arg, Grid, Kernels, PARTS};
use super::super::base::tape::{Gradient, Traced, record};

static KERNELS: Kernels = cuda::kernels!("rms_norm");

/// Whether rows of this many columns fit the kernels: a warp keeps a gradient of the weight in shared memory.
pub fn fits(columns: usize) -> bool {
    cuda::warps_with(columns).is_some()
}

/// y of x (rows, columns).
pub fn forward(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let columns = weight.elem_count();
    let rows = x.elem_count() / columns.max(1);
    let y = cuda::empty(x.shape(), x.dtype(), x.device())?;
    let (_, suffix) = cuda::width_and_suffix(&[x, weight], columns)?;
    let grid = Grid { blocks: [rows.div_ceil(4), 1], threads: [128, 1], shared_bytes: 0 };
    let args = [
        Arg::of(x)?,
        Arg::of(weight)?,
        Arg::of(&y)?,
        Arg::size(rows)?,
        Arg::size(columns)?,
        Arg::F32(eps as f32),
    ];
    cuda::launch(cuda::device_of(x)?, &KERNELS, &format!("rms_norm_forward_{suffix}"), grid, &args)?;
    Ok(y)
}

/// d_x, onto which `onto` is added, and the parts (.., columns) whose sum over rows is d_weight.
pub fn backward(
    x: &Tensor,
    weight: &Tensor,
    d_y: &Tensor,
    onto: Option<&Tensor>,
    eps: f64,
) -> Result<(Tensor, Tensor)> {
    let columns = weight.elem_count();
    let rows = x.elem_count() / columns.max(1);
    let Some((threads, shared_bytes)) = cuda::warps_with(columns) else {
        candle_core::bail!("rms_norm: no kernel for rows of {columns} columns");
    };
    let parts = PARTS.min(rows.div_ceil(threads / 32)).max(1);
    let d_x = cuda::empty(x.shape(), x.dtype(), x.device())?;
    let partials = cuda::empty((parts, columns), DType::F32, x.device())?;
    let tensors: Vec<&Tensor> = [x, weight, d_y].into_iter().chain(onto).collect();
    let (_, suffix) = cuda::width_and_suffix(&tensors, columns)?;
    let args = [
        Arg::of(x)?,
        Arg::of(weight)?,
        Arg::of(d_y)?,
        Arg::of_option(onto)?,
        Arg::of(&d_x)?,
        Arg::of(&partials)?,
        Arg::size(rows)?,
        Arg::size(columns)?,
        Arg::F32(eps as f32),
    ];
    let grid = Grid { blocks: [parts, 1], threads: [threads, 1], shared_bytes };
    cuda::launch(cuda::device_of(x)?, &KERNELS, &format!("rms_norm_backward_{suffix}"), grid, &args)?;
    Ok((d_x, partials))
}

/// The op on contiguous inputs, with its backward.
pub fn rms_norm(x: &Traced, weight: &Traced, eps: f64) -> Result<Traced> {
    let y = forward(x.value(), weight.value(), eps)?;
    let (x, weight) = (x.clone(), weight.clone());
    Ok(record(y, x.is_tracked() || weight.is_tracked(), move |d_y, gradients| {
        let onto = gradients.take(&x);
        let (d_x, partials) =
            backward(x.value(), weight.value(), d_y.values(), onto.as_ref().map(Gradient::values), eps)?;
        gradients.add(&x, d_x)?;
        gradients.add_on_gpu(&weight, |d_weight, adds| cuda::sum_partials(&partials, d_weight, adds))
    }))
}
