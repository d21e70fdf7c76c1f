//! Inverted dropout with masks that are a pure function of (seed, step, micro step, place).
//!
//! candle draws CPU masks from a generator that cannot be seeded; the keys of ours come from `rng::key`, so a
//! resumed run drops the same values as the uninterrupted one, and a GPU the same as the CPU.

use candle_core::{Result, Tensor};

use crate::ops::{self, Traced};
use crate::rng;

/// Hands out masks in the order of the forward pass.
#[derive(Clone)]
pub struct Dropout {
    probability: f64,
    /// Seed, step and micro step; none where nothing is dropped.
    of: Option<(u64, [u64; 2])>,
    place: u64,
}

impl Dropout {
    /// Masks for one forward pass of training.
    pub fn new(probability: f64, seed: u64, step: u64, micro_step: u64) -> Self {
        Self { probability, of: Some((seed, [step, micro_step])), place: 0 }
    }

    /// Leaves everything as it is: for evaluation.
    pub fn off() -> Self {
        Self { probability: 0.0, of: None, place: 0 }
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
        match self.next_mask(x)? {
            Some(mask) => ops::multiply(x, &mask),
            None => Ok(x.clone()),
        }
    }

    /// As `apply`, with a probability and a stream of its own, whatever the order.
    pub(super) fn apply_to(&self, name: &str, probability: f64, x: &Traced) -> Result<Traced> {
        match self.of {
            Some((seed, counters)) if probability > 0.0 => {
                let key = rng::key(seed, &format!("dropout/{name}"), &counters);
                ops::multiply(x, &mask(key, probability, x)?)
            }
            _ => Ok(x.clone()),
        }
    }

    /// Drops values of `branch`, then adds it to the residual stream.
    pub fn add(&mut self, residual: &Traced, branch: &Traced) -> Result<Traced> {
        let mask = self.next_mask(branch)?;
        ops::add(residual, branch, mask.as_ref())
    }

    fn next_mask(&mut self, x: &Traced) -> Result<Option<Tensor>> {
        let Some((seed, [step, micro_step])) = self.of.filter(|_| self.probability > 0.0) else {
            return Ok(None);
        };
        let key = rng::key(seed, "dropout", &[step, micro_step, self.place]);
        self.place += 1;
        mask(key, self.probability, x).map(Some)
    }
}

/// The factors for `x`.
fn mask(key: [u8; 32], probability: f64, x: &Traced) -> Result<Tensor> {
    ops::dropout_mask(key, probability, x.dims(), x.dtype(), x.device())
}
