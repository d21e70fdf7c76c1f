//! The angles of rotary positions.

use candle_core::{DType, Device, Result, Tensor};

use super::spec::Sizes;

/// Rotary angles of each position: cosines and sines (P, D / 2).
#[derive(Clone)]
pub(super) struct Rotary {
    /// Cosines.
    pub(super) cos: Tensor,
    /// Sines.
    pub(super) sin: Tensor,
}

impl Rotary {
    /// Tables for all positions the model accepts. Source: Su et al. 2021, arXiv 2104.09864.
    pub(super) fn new(sizes: &Sizes, theta: f64, device: &Device, dtype: DType) -> Result<Self> {
        let half = sizes.head_dim / 2;
        let positions = sizes.max_position_embeddings;
        let mut angles = Vec::with_capacity(positions * half);
        for position in 0..positions {
            for i in 0..half {
                angles.push(position as f64 / theta.powf(2.0 * i as f64 / sizes.head_dim as f64));
            }
        }
        let table = |f: fn(f64) -> f64| {
            let values: Vec<f64> = angles.iter().map(|angle| f(*angle)).collect();
            Tensor::from_vec(values, (positions, half), &Device::Cpu)?.to_dtype(dtype)?.to_device(device)
        };
        Ok(Self { cos: table(f64::cos)?, sin: table(f64::sin)? })
    }
}
