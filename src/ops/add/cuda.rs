//! Launch of the kernel of sums and products.

use candle_core::{Result, Tensor};

use super::super::base::cuda::{self, Arg, Grid, Kernels};

static KERNELS: Kernels = cuda::kernels!("add");

/// a + b * factors; without `a` the product, without `factors` the sum.
pub fn combine(a: Option<&Tensor>, b: &Tensor, factors: Option<&Tensor>) -> Result<Tensor> {
    let y = cuda::empty(b.shape(), b.dtype(), b.device())?;
    let tensors: Vec<&Tensor> = [b].into_iter().chain(a).chain(factors).collect();
    let (width, suffix) = cuda::width_and_suffix(&tensors, b.elem_count())?;
    let threads = b.elem_count() / width;
    let args =
        [Arg::of_option(a)?, Arg::of(b)?, Arg::of_option(factors)?, Arg::of(&y)?, Arg::U64(threads as u64)];
    let grid = Grid::of_threads(threads);
    cuda::launch(cuda::device_of(b)?, &KERNELS, &format!("add_{suffix}"), grid, &args)?;
    Ok(y)
}
