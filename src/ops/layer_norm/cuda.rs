//! Launches of the layer norm kernels.

#![cfg(feature = "cuda")]

use candle_core::{DType, Result, Tensor};

use super::super::base::cuda::{self, Arg, Grid, Kernels, PARTS};
use super::super::base::tape::{Gradient, Traced, record};

static KERNELS: Kernels = cuda::kernels!("layer_norm");

/// Whether rows of this many columns fit the kernels: a warp keeps the gradients of weight and bias in shared
/// memory.
pub fn fits(columns: usize) -> bool {
    cuda::warps_with(2 * columns).is_some()
}

/// y of x (rows, columns).
pub fn forward(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let columns = weight.elem_count();
    let rows = x.elem_count() / columns.max(1);
    let y = cuda::empty(x.shape(), x.dtype(), x.device())?;
    let (_, suffix) = cuda::width_and_suffix(&[x, weight, bias], columns)?;
    let grid = Grid { blocks: [rows.div_ceil(4), 1], threads: [128, 1], shared_bytes: 0 };
    let args = [
        Arg::of(x)?,
        Arg::of(weight)?,
        Arg::of(bias)?,
        Arg::of(&y)?,
        Arg::size(rows)?,
        Arg::size(columns)?,
        Arg::F32(eps as f32),
    ];
    cuda::launch(cuda::device_of(x)?, &KERNELS, &format!("layer_norm_forward_{suffix}"), grid, &args)?;
    Ok(y)
}

/// d_x, onto which `onto` is added, and the parts (.., 2 columns) whose sum over rows is d_weight, then d_bias.
pub fn backward(
    x: &Tensor,
    weight: &Tensor,
    d_y: &Tensor,
    onto: Option<&Tensor>,
    eps: f64,
) -> Result<(Tensor, Tensor)> {
    let columns = weight.elem_count();
    let rows = x.elem_count() / columns.max(1);
    let Some((threads, shared_bytes)) = cuda::warps_with(2 * columns) else {
        candle_core::bail!("layer_norm: no kernel for rows of {columns} columns");
    };
    let parts = PARTS.min(rows.div_ceil(threads / 32)).max(1);
    let d_x = cuda::empty(x.shape(), x.dtype(), x.device())?;
    let partials = cuda::empty((parts, 2 * columns), DType::F32, x.device())?;
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
    cuda::launch(cuda::device_of(x)?, &KERNELS, &format!("layer_norm_backward_{suffix}"), grid, &args)?;
    Ok((d_x, partials))
}

/// The op on contiguous inputs, with its backward.
pub fn layer_norm(x: &Traced, weight: &Traced, bias: &Traced, eps: f64) -> Result<Traced> {
    let y = forward(x.value(), weight.value(), bias.value(), eps)?;
    let (x, weight, bias) = (x.clone(), weight.clone(), bias.clone());
    Ok(record(y, x.is_tracked() || weight.is_tracked() || bias.is_tracked(), move |d_y, gradients| {
        let onto = gradients.take(&x);
        let (d_x, partials) =
            backward(x.value(), weight.value(), d_y.values(), onto.as_ref().map(Gradient::values), eps)?;
        gradients.add(&x, d_x)?;
        let columns = weight.dims()[0];
        let sums = cuda::empty(2 * columns, DType::F32, x.device())?;
        cuda::sum_partials(&partials, &sums, false)?;
        gradients.add(&weight, sums.narrow(0, 0, columns)?)?;
        gradients.add(&bias, sums.narrow(0, columns, columns)?)
    }))
}
