//! Which sample comes when: pure functions of (seed, epoch, index), so that resume is one counter.

use rand::Rng;
use rand::seq::SliceRandom;

use crate::rng;

/// Order of the windows of a token stream.
///
/// An epoch cuts the stream into windows of `seq_len` tokens from a random start below `seq_len`, and visits
/// each window once in a shuffled order. The number of windows is the same in every epoch.
#[derive(Clone, Debug)]
pub struct WindowSampler {
    seed: u64,
    seq_len: u64,
    windows: u64,
}

impl WindowSampler {
    /// Windows over `tokens` tokens; a window also needs the token after it as last target.
    ///
    /// Returns none when there is not one window for every possible start: fewer than 2 * seq_len tokens.
    pub fn new(tokens: u64, seq_len: usize, seed: u64) -> Option<Self> {
        let seq_len = seq_len as u64;
        let windows = tokens.checked_sub(seq_len)? / seq_len;
        (windows > 0).then_some(Self { seed, seq_len, windows })
    }

    /// Samples of one epoch.
    pub fn samples_per_epoch(&self) -> u64 {
        self.windows
    }

    /// First token of sample `index`, counted through all epochs.
    pub fn start(&self, index: u64) -> u64 {
        let (epoch, place) = (index / self.windows, index % self.windows);
        let mut stream = rng::stream(self.seed, "windows", &[epoch]);
        let shift = stream.random_range(0..self.seq_len);
        let keys = std::array::from_fn(|_| stream.random::<u64>());
        shift + permute(place, self.windows, &keys) * self.seq_len
    }
}

/// A seeded permutation of 0..n evaluated at one place: a four-round Feistel network over the smallest even
/// number of bits that holds n, walked until it lands below n.
///
/// Source: Black and Rogaway 2002, "Ciphers with Arbitrary Finite Domains", cycle-walking.
fn permute(place: u64, n: u64, keys: &[u64; 4]) -> u64 {
    let half_bits = (64 - (n - 1).leading_zeros()).div_ceil(2).max(1);
    let mask = (1u64 << half_bits) - 1;
    let mut at = place;
    loop {
        let (mut left, mut right) = (at >> half_bits, at & mask);
        for key in keys {
            let mixed = left ^ (mix(right ^ key) & mask);
            (left, right) = (right, mixed);
        }
        at = left << half_bits | right;
        if at < n {
            return at;
        }
    }
}

/// Finaliser of SplitMix64 (Steele, Lea and Flood 2014).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Rows in random order, cut into batches of one size, chosen so that the last one is hardly smaller: each weighs one
/// step.
///
/// They are not sorted by length: batches hold no padding that this could save, and where length goes with the label,
/// as in spam, batches by length hold one label almost alone.
#[derive(Clone, Debug)]
pub struct RowSampler {
    seed: u64,
    rows: usize,
    rows_per_batch: usize,
}

impl RowSampler {
    /// Batches of up to `rows_per_batch` of this many rows.
    pub fn new(rows: usize, rows_per_batch: usize, seed: u64) -> Self {
        Self { seed, rows, rows_per_batch }
    }

    /// Batches of one epoch.
    pub fn batches_per_epoch(&self) -> u64 {
        self.rows.div_ceil(self.rows_per_batch) as u64
    }

    /// The batches of `epoch`: every row once.
    pub fn epoch(&self, epoch: u64) -> Vec<Vec<usize>> {
        let mut rows: Vec<usize> = (0..self.rows).collect();
        rows.shuffle(&mut rng::stream(self.seed, "rows", &[epoch]));
        let each = self.rows.div_ceil(self.batches_per_epoch().max(1) as usize);
        rows.chunks(each.max(1)).map(<[usize]>::to_vec).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_epoch_visits_every_window_once_and_stays_inside(
            tokens in 2u64..5_000, seq_len in 1usize..70, seed: u64, epoch in 0u64..4,
        ) {
            let Some(sampler) = WindowSampler::new(tokens, seq_len, seed) else {
                prop_assert!(tokens < 2 * seq_len as u64);
                return Ok(());
            };
            let n = sampler.samples_per_epoch();
            let starts: HashSet<u64> = (epoch * n..(epoch + 1) * n).map(|i| sampler.start(i)).collect();
            prop_assert_eq!(starts.len() as u64, n);
            let shift = starts.iter().min().copied().unwrap_or(0);
            for start in &starts {
                prop_assert_eq!((start - shift) % seq_len as u64, 0);
                prop_assert!(start + (seq_len as u64) < tokens);
            }
        }

        #[test]
        fn an_epoch_visits_every_row_once(rows in 0usize..500, per_batch in 1usize..40, seed: u64) {
            let sampler = RowSampler::new(rows, per_batch, seed);
            let batches = sampler.epoch(3);
            prop_assert_eq!(batches.len() as u64, sampler.batches_per_epoch());
            let sizes = || batches.iter().map(Vec::len);
            prop_assert!(sizes().all(|size| size <= per_batch));
            let spread = sizes().max().unwrap_or(0) - sizes().min().unwrap_or(0);
            prop_assert!(spread < batches.len().max(1), "sizes differ by {spread}");
            let mut seen: Vec<usize> = batches.concat();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..rows).collect::<Vec<_>>());
        }
    }

    #[test]
    fn epochs_and_seeds_differ() {
        let order = |seed, epoch: u64| {
            let sampler = WindowSampler::new(10_000, 10, seed).unwrap();
            let n = sampler.samples_per_epoch();
            (epoch * n..(epoch + 1) * n).map(|i| sampler.start(i)).collect::<Vec<_>>()
        };
        assert_eq!(order(1, 0), order(1, 0));
        assert_ne!(order(1, 0), order(2, 0));
        assert_ne!(order(1, 0), order(1, 1));
    }
}
