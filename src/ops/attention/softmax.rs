//! Row softmax of one block of scores, in place, while the block is in the cache.

use super::super::real::{Real, max_of, sum_of, vectorised};

vectorised! {
    /// Scores (rows, keys) to weights. Row i of the block sees the keys up to `first + i`; the weights of
    /// the others become 0.
    pub fn causal_softmax<T: Real>(scores: &mut [T], first: usize, keys: usize) {
        for (i, row) in scores.chunks_exact_mut(keys).enumerate() {
            let (seen, masked) = row.split_at_mut(first + i + 1);
            let max = max_of(seen);
            for score in seen.iter_mut() {
                *score = (*score - max).exp();
            }
            let scale = T::one() / sum_of([seen], |[weight]| weight);
            for weight in seen.iter_mut() {
                *weight *= scale;
            }
            masked.fill(T::zero());
        }
    }

    /// Gradient of the scores from `d_weights`, in place: P (d_P - rowsum(P d_P)).
    pub fn softmax_backward<T: Real>(weights: &[T], d_weights: &mut [T], keys: usize) {
        for (p, d_p) in weights.chunks_exact(keys).zip(d_weights.chunks_exact_mut(keys)) {
            let mean = sum_of([p, d_p], |[p, d_p]| p * d_p);
            for (&p, d_p) in p.iter().zip(d_p) {
                *d_p = p * (*d_p - mean);
            }
        }
    }
}
