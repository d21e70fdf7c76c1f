//! Launch of the rotary kernel.

#![cfg(feature = "cuda")]

use candle_core::{Result, Tensor};

use super::super::base::cuda::{self, Arg, Grid, Kernels};
use super::super::base::tape::{Traced, record};
use super::Tables;

static KERNELS: Kernels = cuda::kernels!("rope");

/// x (N, heads D) with its first heads turned by `sign` times their angles; cos and sin are f32.
pub fn rotate(
    x: &Tensor,
    tables: &Tables<Tensor, Tensor>,
    num_rotated_heads: usize,
    sign: f64,
) -> Result<Tensor> {
    let Tables { positions, cos, sin, half } = tables;
    let ((rows, columns), num_positions) = (x.dims2()?, cos.dim(0)?);
    let heads = columns / (2 * half);
    let y = cuda::empty(x.shape(), x.dtype(), x.device())?;
    let (width, suffix) = cuda::width_and_suffix(&[x], *half)?;
    let threads = rows * heads * (half / width);
    let args = [
        Arg::of(x)?,
        Arg::of(positions)?,
        Arg::of(cos)?,
        Arg::of(sin)?,
        Arg::of(&y)?,
        Arg::U64(threads as u64),
        Arg::size(heads)?,
        Arg::size(*half)?,
        Arg::size(num_rotated_heads)?,
        Arg::size(num_positions)?,
        Arg::F32(sign as f32),
    ];
    let grid = Grid::of_threads(threads);
    cuda::launch(cuda::device_of(x)?, &KERNELS, &format!("rope_{suffix}"), grid, &args)?;
    Ok(y)
}

/// The op on contiguous inputs, with its backward.
pub fn rope(qkv: &Traced, tables: Tables<Tensor, Tensor>, num_rotated_heads: usize) -> Result<Traced> {
    let y = rotate(qkv.value(), &tables, num_rotated_heads, 1.)?;
    let qkv = qkv.place()?;
    Ok(record(y, qkv.is_tracked(), move |d_y, gradients| {
        gradients.add(&qkv, rotate(d_y.values(), &tables, num_rotated_heads, -1.)?)
    }))
}
