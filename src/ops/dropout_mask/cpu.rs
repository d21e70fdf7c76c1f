//! Factors on slices, each chunk from its own place in the stream.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::super::base::real::Real;
use super::super::base::rows::fill_rows;
use super::Factors;

/// The first `count` factors of the stream.
pub fn mask<T: Real>(key: [u8; 32], factors: Factors, count: usize) -> Vec<T> {
    let scale = T::from_f64(f64::from(factors.scale));
    fill_rows(count, 1, |range, out| {
        let mut stream = ChaCha8Rng::from_seed(key);
        stream.set_word_pos(range.start as u128);
        for factor in out {
            *factor = if stream.next_u32() < factors.threshold { T::zero() } else { scale };
        }
    })
}
