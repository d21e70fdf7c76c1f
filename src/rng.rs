//! Seeded random streams: every random choice of a run is a pure function of (seed, purpose, counters).
//!
//! Layer 0. No global generator and no state to save: whoever needs numbers names what they are for.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

/// The stream for one purpose (such as `"init/model.norm.weight"`) and its counters (such as step and layer).
pub fn stream(seed: u64, purpose: &str, counters: &[u64]) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(key(seed, purpose, counters))
}

/// The key of that stream, for whoever draws from it elsewhere than here.
pub fn key(seed: u64, purpose: &str, counters: &[u64]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update((purpose.len() as u64).to_le_bytes());
    hash.update(purpose.as_bytes());
    for counter in counters {
        hash.update(counter.to_le_bytes());
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::stream;
    use rand::RngCore;

    #[test]
    fn a_stream_depends_on_seed_purpose_and_counters_alone() {
        let first = |seed, purpose, counters: &[u64]| stream(seed, purpose, counters).next_u64();
        assert_eq!(first(1, "init", &[2, 3]), first(1, "init", &[2, 3]));
        assert_ne!(first(1, "init", &[2, 3]), first(2, "init", &[2, 3]));
        assert_ne!(first(1, "init", &[2, 3]), first(1, "data", &[2, 3]));
        assert_ne!(first(1, "init", &[2, 3]), first(1, "init", &[3, 2]));
    }
}
