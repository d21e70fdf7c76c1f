//! Launch of the rotary kernel.

use candle_core::{Result, Tensor};

use super::super::base::cuda::{self, Arg, Grid, Kernels};
use super::super::base::tape::{Traced, record};

static KERNELS: Kernels = cuda::kernels!("rope");

/// x (N, heads D) with its first `rotated` heads turned by `sign` times their angles; cos and sin are f32.
pub fn rotate(
    x: &Tensor,
    positions: &Tensor,
    [cos, sin]: [&Tensor; 2],
    rotated: usize,
    sign: f64,
) -> Result<Tensor> {
    let ((rows, columns), (num_positions, half)) = (x.dims2()?, cos.dims2()?);
    let heads = columns / (2 * half);
    let y = cuda::empty(x.shape(), x.dtype(), x.device())?;
    let (width, suffix) = cuda::width_and_suffix(&[x], half)?;
    let threads = rows * heads * (half / width);
    let args = [
        Arg::of(x)?,
        Arg::of(positions)?,
        Arg::of(cos)?,
        Arg::of(sin)?,
        Arg::of(&y)?,
        Arg::U64(threads as u64),
        Arg::size(heads)?,
        Arg::size(half)?,
        Arg::size(rotated)?,
        Arg::size(num_positions)?,
        Arg::F32(sign as f32),
    ];
    let grid = Grid::of_threads(threads);
    cuda::launch(cuda::device_of(x)?, &KERNELS, &format!("rope_{suffix}"), grid, &args)?;
    Ok(y)
}

/// The op on contiguous inputs, with its backward.
pub fn rope(qkv: &Traced, positions: Tensor, [cos, sin]: [Tensor; 2], rotated: usize) -> Result<Traced> {
    let y = rotate(qkv.value(), &positions, [&cos, &sin], rotated, 1.)?;
    let qkv = qkv.clone();
    Ok(record(y, qkv.is_tracked(), move |d_y, gradients| {
        let d_qkv = rotate(&d_y, &positions, [&cos, &sin], rotated, -1.)?;
        gradients.add(&qkv, d_qkv)
    }))
}
