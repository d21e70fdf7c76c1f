//! Dropout's factors, drawn where they are used: the same bits on every device.
//!
//! The blocks of a ChaCha stream are independent of each other, so that each thread, of a processor or of a GPU,
//! makes its own part. There is no gradient and no reference: nothing is computed from a tensor.

mod cpu;
mod cuda;
#[cfg(test)]
mod tests;

use candle_core::{DType, Device, Result, Shape, Tensor};

use super::base::gpu::on_gpu;
use super::base::real::by_dtype;

const NAME: &str = "dropout_mask";

/// What becomes of a word of the stream.
#[derive(Clone, Copy)]
struct Factors {
    /// Smaller words become 0.
    threshold: u32,
    /// The others become this.
    scale: f32,
}

/// 0 for what is dropped, with the given probability, 1 / (1 - probability) for the rest.
///
/// Element i is 0 where word i of the ChaCha8 stream of `key` is below probability * (2^32 - 1).
/// Dtypes: f32; f64 on the CPU, bf16 on a GPU.
/// Errors: another dtype.
/// Source: Srivastava et al. 2014, in the inverted form; Bernstein 2008, "ChaCha, a variant of Salsa20".
pub fn dropout_mask(
    key: [u8; 32],
    probability: f64,
    shape: impl Into<Shape>,
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    let shape = shape.into();
    let factors = Factors {
        threshold: (probability * f64::from(u32::MAX)) as u32,
        scale: (1.0 / (1.0 - probability)) as f32,
    };
    on_gpu!(if device.is_cuda() && matches!(dtype, DType::F32 | DType::BF16) =>
        cuda::dropout_mask(key, factors, &shape, dtype, device));
    by_dtype!(NAME, dtype, T => Tensor::from_vec(cpu::mask::<T>(key, factors, shape.elem_count()), shape, device))
}
