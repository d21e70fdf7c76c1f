//! Measured rates of this machine: what a share of peak is relative to.

use std::time::Instant;

use candle_core::{DType, Device, Tensor};

use crate::error::{ErrorKind, Result};
use crate::ops::{self, Traced, WeightLayout};

/// Operations per second of a square matrix product of random numbers on this device: the best of a few. Where a model
/// fills a GPU, the matrices are smaller, and the rate a little lower.
pub fn product(device: &Device, dtype: DType) -> Result<f64> {
    // Large enough to fill the device, small enough for a part of a second.
    let mut side = if device.is_cuda() { 8192 } else { 1024 };
    loop {
        match product_of(side, device, dtype) {
            Err(error) if error.kind == ErrorKind::Device && side > 256 => side /= 2,
            rate => return rate,
        }
    }
}

/// As [`product`], of matrices with this many rows and columns.
fn product_of(side: usize, device: &Device, dtype: DType) -> Result<f64> {
    let a = random(side * side, device)?.reshape((side, side))?.to_dtype(dtype)?;
    let (x, weight) = (Traced::from(&a), [Traced::from(&a)]);
    let best =
        best_secs(device, || Ok(ops::linear(&x, &weight, None, WeightLayout::InOut)?.value().clone()))?;
    Ok(2.0 * (side as f64).powi(3) / best)
}

/// Bytes per second that a copy of a large tensor moves, read and written: the best of a few.
pub fn copy(device: &Device) -> Result<f64> {
    let len = if device.is_cuda() { 1 << 28 } else { 16 << 20 };
    let x = random(len, device)?;
    Ok(8.0 * len as f64 / best_secs(device, || Ok(x.copy()?))?)
}

/// Numbers between -1 and 1: products of zeros run faster than others.
fn random(len: usize, device: &Device) -> Result<Tensor> {
    let mut state = 1u32;
    let values: Vec<f32> = (0..len.min(1 << 20))
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state as i32 as f32 / i32::MAX as f32
        })
        .collect();
    let block = Tensor::new(values.as_slice(), device)?;
    Ok(block.repeat(len.div_ceil(values.len()))?.narrow(0, 0, len)?.contiguous()?)
}

/// Least time of a few runs, each with the wait for the device.
fn best_secs(device: &Device, run: impl Fn() -> Result<Tensor>) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..8 {
        device.synchronize()?;
        let started = Instant::now();
        run()?;
        device.synchronize()?;
        best = best.min(started.elapsed().as_secs_f64());
    }
    Ok(best)
}
