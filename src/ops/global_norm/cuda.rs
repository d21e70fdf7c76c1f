//! Launches of the norm of all gradients.

#![cfg(feature = "cuda")]

use candle_core::{DType, Result, Tensor, bail};

use crate::ops::base::cuda::{self, Arg, Grid, Kernels, Table};

static KERNELS: Kernels = cuda::kernels!("global_norm");

/// Whether there are kernels for these: gradients of f32 on a GPU.
pub fn fits(gradients: &[&Tensor]) -> bool {
    !gradients.is_empty() && gradients.iter().all(|x| cuda::runs(x) && x.dtype() == DType::F32)
}

/// The norm of gradients that [`fits`] accepts, an f64 scalar.
pub fn norm(gradients: &[&Tensor]) -> Result<Tensor> {
    let gradients = gradients.iter().map(|x| x.contiguous()).collect::<Result<Vec<_>>>()?;
    let Some(first) = gradients.first() else { bail!("the norm of no gradients") };
    let device = cuda::device_of(first)?;
    let line =
        |gradient: &Tensor| Ok(([0, 0, 0, 0, cuda::address(gradient)?], gradient.elem_count(), [0.; 2]));
    let table = Table::new(gradients.iter().map(line), first)?;
    let squares = cuda::empty(table.chunks, DType::F64, first.device())?;
    let args = [&table.args()?[..], &[Arg::of(&squares)?]].concat();
    cuda::launch(device, &KERNELS, "chunk_squares", table.grid(), &args)?;
    let norm = cuda::empty((), DType::F64, first.device())?;
    let args = [Arg::of(&squares)?, Arg::size(table.chunks)?, Arg::of(&norm)?];
    let grid = Grid { blocks: [1, 1], threads: [1024, 1], shared_bytes: 0 };
    cuda::launch(device, &KERNELS, "finish_norm", grid, &args)?;
    Ok(norm)
}
