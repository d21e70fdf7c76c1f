//! Launches of the SwiGLU kernels.

#![cfg(feature = "cuda")]

use candle_core::{Result, Tensor};

use super::super::base::cuda::{self, Arg, Grid, Kernels};
use super::super::base::tape::{Traced, record};

static KERNELS: Kernels = cuda::kernels!("swiglu");

/// y (.., columns) of x (.., 2 columns), in the given shape.
pub fn forward(x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let columns = shape[shape.len() - 1];
    let y = cuda::empty(shape, x.dtype(), x.device())?;
    let (width, suffix) = cuda::width_and_suffix(&[x], columns)?;
    let threads = y.elem_count() / width;
    let args = [Arg::of(x)?, Arg::of(&y)?, Arg::U64(threads as u64), Arg::size(columns)?];
    let grid = Grid::of_threads(threads);
    cuda::launch(cuda::device_of(x)?, &KERNELS, &format!("swiglu_forward_{suffix}"), grid, &args)?;
    Ok(y)
}

/// d_x.
pub fn backward(x: &Tensor, d_y: &Tensor) -> Result<Tensor> {
    let columns = d_y.dims()[d_y.rank() - 1];
    let d_x = cuda::empty(x.shape(), x.dtype(), x.device())?;
    let (width, suffix) = cuda::width_and_suffix(&[x, d_y], columns)?;
    let threads = d_y.elem_count() / width;
    let args = [Arg::of(x)?, Arg::of(d_y)?, Arg::of(&d_x)?, Arg::U64(threads as u64), Arg::size(columns)?];
    let grid = Grid::of_threads(threads);
    cuda::launch(cuda::device_of(x)?, &KERNELS, &format!("swiglu_backward_{suffix}"), grid, &args)?;
    Ok(d_x)
}

/// The op on a contiguous input, with its backward; `shape` is that of the result.
pub fn swiglu(gate_up: &Traced, shape: &[usize]) -> Result<Traced> {
    let y = forward(gate_up.value(), shape)?;
    let gate_up = gate_up.clone();
    Ok(record(y, gate_up.is_tracked(), move |d_y, gradients| {
        let d = backward(gate_up.value(), d_y.values())?;
        gradients.add(&gate_up, d)
    }))
}
