//! Launches of the kernels of GELU by the error function.

#![cfg(feature = "cuda")]

use candle_core::{Result, Tensor};

use super::super::base::cuda::{self, Arg, Grid, Kernels};
use super::super::base::tape::{Traced, record};

static KERNELS: Kernels = cuda::kernels!("gelu_erf");

pub fn forward(x: &Tensor) -> Result<Tensor> {
    let y = cuda::empty(x.shape(), x.dtype(), x.device())?;
    let (width, suffix) = cuda::width_and_suffix(&[x], x.elem_count())?;
    let threads = x.elem_count() / width;
    let args = [Arg::of(x)?, Arg::of(&y)?, Arg::U64(threads as u64)];
    let grid = Grid::of_threads(threads);
    cuda::launch(cuda::device_of(x)?, &KERNELS, &format!("gelu_erf_forward_{suffix}"), grid, &args)?;
    Ok(y)
}

/// d_x.
pub fn backward(x: &Tensor, d_y: &Tensor) -> Result<Tensor> {
    let d_x = cuda::empty(x.shape(), x.dtype(), x.device())?;
    let (width, suffix) = cuda::width_and_suffix(&[x, d_y], x.elem_count())?;
    let threads = x.elem_count() / width;
    let args = [Arg::of(x)?, Arg::of(d_y)?, Arg::of(&d_x)?, Arg::U64(threads as u64)];
    let grid = Grid::of_threads(threads);
    cuda::launch(cuda::device_of(x)?, &KERNELS, &format!("gelu_erf_backward_{suffix}"), grid, &args)?;
    Ok(d_x)
}

/// The op on a contiguous input, with its backward.
pub fn gelu_erf(x: &Traced) -> Result<Traced> {
    let y = forward(x.value())?;
    let x = x.clone();
    Ok(record(y, x.is_tracked(), move |d_y, gradients| {
        let d_x = backward(x.value(), d_y.values())?;
        gradients.add(&x, d_x)
    }))
}
