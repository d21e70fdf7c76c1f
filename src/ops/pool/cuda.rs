//! Launches of the pooling kernels.

#![cfg(feature = "cuda")]

use candle_core::{DType, Result, Tensor};

use super::super::base::cuda::{self, Arg, Grid, Kernels};
use super::super::base::tape::{Traced, record};
use super::Pool;

static KERNELS: Kernels = cuda::kernels!("pool");

fn launch(name: &str, x: &Tensor, y: &Tensor, lengths: &[usize], columns: usize, which: Pool) -> Result<()> {
    let device = cuda::device_of(x)?;
    let args = [
        Arg::of(x)?,
        Arg::of(&cuda::offsets(lengths, device)?)?,
        Arg::of(y)?,
        Arg::size(columns)?,
        Arg::U32(match which {
            Pool::Mean | Pool::Concat => 0,
            Pool::Last => 1,
            Pool::First => 2,
        }),
    ];
    let suffix = if x.dtype() == DType::F32 { "f32" } else { "bf16" };
    let grid = Grid { blocks: [lengths.len(), columns.div_ceil(256)], threads: [256, 1], shared_bytes: 0 };
    cuda::launch(device, &KERNELS, &format!("{name}_{suffix}"), grid, &args)
}

pub fn forward(x: &Tensor, lengths: &[usize], columns: usize, which: Pool) -> Result<Tensor> {
    let y = cuda::empty((lengths.len(), columns), x.dtype(), x.device())?;
    launch("pool_forward", x, &y, lengths, columns, which)?;
    Ok(y)
}

/// d_x.
pub fn backward(d_y: &Tensor, lengths: &[usize], columns: usize, which: Pool) -> Result<Tensor> {
    let d_x = cuda::empty((lengths.iter().sum::<usize>(), columns), d_y.dtype(), d_y.device())?;
    launch("pool_backward", d_y, &d_x, lengths, columns, which)?;
    Ok(d_x)
}

/// The op on a contiguous input, with its backward.
pub fn pool(x: &Traced, lengths: Vec<usize>, columns: usize, which: Pool) -> Result<Traced> {
    let y = forward(x.value(), &lengths, columns, which)?;
    let x = x.clone();
    Ok(record(y, x.is_tracked(), move |d_y, gradients| {
        gradients.add(&x, backward(d_y.values(), &lengths, columns, which)?)
    }))
}
