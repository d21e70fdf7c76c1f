//! Cross-entropy kernels: two reads of the logits forward, one read and one write backward.

use super::super::base::real::{Real, max_of, sum_of, vectorised};
use super::super::base::rows::{fill_rows, map_rows};
use super::IGNORE_INDEX;

/// The loss of each row of logits (targets.len(), vocab_size).
pub fn forward<T: Real>(logits: &[T], targets: &[u32], vocab_size: usize) -> Vec<T> {
    map_rows(logits, vocab_size, targets.len(), |row, logits| match targets[row] {
        IGNORE_INDEX => T::zero(),
        target => log_sum_exp(logits) - logits[target as usize],
    })
}

/// d_logits = (softmax - onehot) d_loss.
pub fn backward<T: Real>(
    logits: &[T],
    targets: &[u32],
    losses: &[T],
    d_losses: &[T],
    vocab_size: usize,
) -> Vec<T> {
    fill_rows(targets.len(), vocab_size, |rows, d_logits| {
        for (row, d_logits) in rows.zip(d_logits.chunks_exact_mut(vocab_size)) {
            if targets[row] == IGNORE_INDEX {
                continue; // The buffer holds zeros.
            }
            let logits = &logits[row * vocab_size..][..vocab_size];
            let target = targets[row] as usize;
            scaled_softmax(logits, losses[row] + logits[target], d_losses[row], d_logits);
            d_logits[target] -= d_losses[row];
        }
    })
}

vectorised! {
    fn log_sum_exp<T: Real>(logits: &[T]) -> T {
        let max = max_of(logits);
        max + sum_of([logits], |[logit]| (logit - max).exp()).ln()
    }

    /// out = scale exp(logits - log_sum_exp).
    fn scaled_softmax<T: Real>(logits: &[T], log_sum_exp: T, scale: T, out: &mut [T]) {
        for (&logit, out) in logits.iter().zip(out) {
            *out = scale * (logit - log_sum_exp).exp();
        }
    }
}
