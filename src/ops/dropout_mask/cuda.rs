//! Launch of the mask kernel.

#![cfg(feature = "cuda")]

use candle_core::{DType, Device, Result, Shape, Tensor};

use super::super::base::cuda::{self, Arg, Grid, Kernels};
use super::Factors;

static KERNELS: Kernels = cuda::kernels!("dropout_mask");

/// Words of a block of the stream, which one thread makes.
const BLOCK_WORDS: usize = 16;

/// The op for f32 and bf16.
pub fn dropout_mask(
    key: [u8; 32],
    factors: Factors,
    shape: &Shape,
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    let mask = cuda::empty(shape, dtype, device)?;
    let mut args = vec![Arg::of(&mask)?, Arg::U64(shape.elem_count() as u64)];
    args.extend(key.as_chunks::<8>().0.iter().map(|bytes| Arg::U64(u64::from_le_bytes(*bytes))));
    args.extend([Arg::U32(factors.threshold), Arg::F32(factors.scale)]);
    let grid = Grid::of_threads(shape.elem_count().div_ceil(BLOCK_WORDS));
    let name = if dtype == DType::F32 { "dropout_mask_f32" } else { "dropout_mask_bf16" };
    cuda::launch(cuda::device_of(&mask)?, &KERNELS, name, grid, &args)?;
    Ok(mask)
}
