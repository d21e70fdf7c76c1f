//! Inverted dropout with masks that are a pure function of (seed, step, micro step, place).
//!
//! candle draws CPU masks from a generator that cannot be seeded; ours come from `rng::stream`, so a
//! resumed run drops the same values as the uninterrupted one.

use candle_core::{Result, Tensor};
use rand::RngCore;

use crate::ops::{self, Traced};
use crate::rng;

/// Hands out masks in the order of the forward pass.
#[derive(Clone)]
pub struct Dropout {
    probability: f64,
    seed: u64,
    step: u64,
    micro_step: u64,
    place: u64,
}

impl Dropout {
    /// Masks for one forward pass of training.
    pub fn new(probability: f64, seed: u64, step: u64, micro_step: u64) -> Self {
        Self { probability, seed, step, micro_step, place: 0 }
    }

    /// Leaves everything as it is: for evaluation.
    pub fn off() -> Self {
        Self::new(0.0, 0, 0, 0)
    }

    /// Leaves out the masks of the next `places`, which a copy of this hands out.
    pub(super) fn skip(&mut self, places: u64) {
        if self.probability > 0.0 {
            self.place += places;
        }
    }

    /// Zeroes each value with the given probability and scales the rest by 1 / (1 - probability).
    ///
    /// Source: Srivastava et al. 2014, in the inverted form.
    pub fn apply(&mut self, x: &Traced) -> Result<Traced> {
        match self.mask(x)? {
            Some(mask) => ops::multiply(x, &mask),
            None => Ok(x.clone()),
        }
    }

    /// Drops values of `branch`, then adds it to the residual stream.
    pub fn add(&mut self, residual: &Traced, branch: &Traced) -> Result<Traced> {
        let mask = self.mask(branch)?;
        ops::add(residual, branch, mask.as_ref())
    }

    /// 0 for what is dropped, the scale for the rest; none where nothing is dropped.
    fn mask(&mut self, x: &Traced) -> Result<Option<Tensor>> {
        if self.probability == 0.0 {
            return Ok(None);
        }
        let mut stream = rng::stream(self.seed, "dropout", &[self.step, self.micro_step, self.place]);
        self.place += 1;
        let threshold = (self.probability * f64::from(u32::MAX)) as u32;
        let scale = (1.0 / (1.0 - self.probability)) as f32;
        let count = x.dims().iter().product();
        let mask: Vec<f32> =
            (0..count).map(|_| if stream.next_u32() < threshold { 0.0 } else { scale }).collect();
        Ok(Some(Tensor::from_vec(mask, x.dims(), x.device())?.to_dtype(x.dtype())?))
    }
}
