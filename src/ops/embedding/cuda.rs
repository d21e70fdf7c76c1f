//! Launches of the embedding kernels.

#![cfg(feature = "cuda")]

use candle_core::{DType, Result, Tensor, bail};

use super::super::base::cuda::{self, Arg, Grid, Kernels};
use super::super::base::tape::{Gradient, Traced, record};

static KERNELS: Kernels = cuda::kernels!("embedding");

/// Blocks of the backward pass, about: enough to fill the largest GPUs.
const BLOCKS: usize = 1024;

/// The rows of the ids, in the given shape.
pub fn forward(weight: &Tensor, ids: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let (vocab_size, columns) = weight.dims2()?;
    let y = cuda::empty(shape, weight.dtype(), weight.device())?;
    let (width, suffix) = cuda::width_and_suffix(&[weight], columns)?;
    let threads = y.elem_count() / width;
    let args = [
        Arg::of(weight)?,
        Arg::of(ids)?,
        Arg::of(&y)?,
        Arg::U64(threads as u64),
        Arg::size(columns)?,
        Arg::size(vocab_size)?,
    ];
    let grid = Grid::of_threads(threads);
    cuda::launch(cuda::device_of(weight)?, &KERNELS, &format!("embedding_forward_{suffix}"), grid, &args)?;
    Ok(y)
}

/// Adds the rows of d_y to the rows of d_weight, f32, that they came from.
pub fn backward(d_y: &Tensor, ids: &Tensor, d_weight: &Tensor) -> Result<()> {
    let (vocab_size, columns) = d_weight.dims2()?;
    if d_weight.dtype() != DType::F32 {
        bail!("embedding: expected a gradient of f32, got {}", d_weight.dtype().as_str());
    }
    let shares = columns.div_ceil(256).max(1);
    let owners = (BLOCKS / shares).max(1).min(vocab_size);
    let name = if d_y.dtype() == DType::F32 { "embedding_backward_f32" } else { "embedding_backward_bf16" };
    let args = [
        Arg::of(d_y)?,
        Arg::of(ids)?,
        Arg::of(d_weight)?,
        Arg::size(ids.elem_count())?,
        Arg::size(columns)?,
        Arg::size(vocab_size)?,
    ];
    let grid = Grid { blocks: [owners, shares], threads: [256, 1], shared_bytes: 0 };
    cuda::launch(cuda::device_of(d_y)?, &KERNELS, name, grid, &args)
}

/// The op on contiguous inputs, with its backward; `shape` is that of the result.
pub fn embedding(weight: &Traced, ids: Tensor, shape: &[usize]) -> Result<Traced> {
    let y = forward(weight.value(), &ids, shape)?;
    let weight = weight.clone();
    Ok(record(y, weight.is_tracked(), move |d_y, gradients| {
        gradients.change(&weight, |sum| {
            let mut sum = match sum {
                Some(sum) => sum.exclusive()?,
                None => {
                    Gradient::own(Tensor::zeros(weight.dims(), weight.gradient_dtype(), weight.device())?)
                }
            };
            if let Some(d_weight) = sum.values_mut() {
                backward(d_y.values(), &ids, d_weight)?;
            }
            Ok(sum)
        })
    }))
}
