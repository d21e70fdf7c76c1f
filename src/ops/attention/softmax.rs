//! Row softmax of one block of scores, in place, while the block is in the cache.

use super::super::base::real::{LANES, Real, max_of, sum_of, vectorised};

vectorised! {
    /// Scores (rows, keys) to weights. Row i of the block sees the keys up to `first + i`; the weights of
    /// the others become 0.
    pub fn masked_softmax<T: Real>(scores: &mut [T], first: usize, keys: usize) {
        for (i, row) in scores.chunks_exact_mut(keys).enumerate() {
            let seen = keys.min(first + i + 1);
            let (row, masked) = row.split_at_mut(whole_vectors(seen, keys));
            masked.fill(T::zero());
            // Some masked scores take part as e^-inf = 0: whole vectors are faster than a row's ragged end.
            row[seen..].fill(T::from_f64(f64::NEG_INFINITY));
            let max = max_of(row);
            for score in row.iter_mut() {
                *score = (*score - max).exp();
            }
            let scale = T::one() / sum_of([row], |[weight]| weight);
            for weight in row.iter_mut() {
                *weight *= scale;
            }
        }
    }

    /// Gradient of the scores from `d_weights`, in place: P (d_P - rowsum(P d_P)), 0 where the mask is.
    pub fn softmax_backward<T: Real>(weights: &[T], d_weights: &mut [T], first: usize, keys: usize) {
        for (i, (p, d_p)) in weights.chunks_exact(keys).zip(d_weights.chunks_exact_mut(keys)).enumerate() {
            let seen = keys.min(first + i + 1);
            d_p[seen..].fill(T::zero());
            let whole = whole_vectors(seen, keys);
            let (p, d_p) = (&p[..whole], &mut d_p[..whole]);
            let mean = sum_of([p, d_p], |[p, d_p]| p * d_p);
            for (&p, d_p) in p.iter().zip(d_p) {
                *d_p = p * (*d_p - mean);
            }
        }
    }
}

/// `seen` of so many keys, and those that fill its last vectors.
#[inline(always)]
fn whole_vectors(seen: usize, keys: usize) -> usize {
    seen.next_multiple_of(LANES).min(keys)
}
