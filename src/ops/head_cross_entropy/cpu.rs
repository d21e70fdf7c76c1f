//! Kernels of head and cross-entropy: per block of rows one product for the logits, one pass over them, and
//! one product for each gradient.

use std::ops::Range;

use super::super::base::matmul::{Matrix, MatrixMut, Multiply, Onto, SharedBuffer, Threads, set_product};
use super::super::base::real::{Real, max_of, sum_of, vectorised};
use super::super::base::rows::{for_each_row, zeros};
use super::super::cross_entropy::IGNORE_INDEX;

/// Logits held at once, 16 MiB of f32: the more rows, the less packing of the weight, the fewer, the less memory.
const BLOCK_LEN: usize = 4 << 20;
/// Fewer rows at once would read and write the weight's gradient too often.
const MIN_BLOCK_ROWS: usize = 128;

/// hidden is (rows, columns), weight is (vocab_size, columns).
pub struct Sizes {
    pub rows: usize,
    pub columns: usize,
    pub vocab_size: usize,
}

impl Sizes {
    /// Blocks of rows, all but the last of one size.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (rows, len) = (self.rows, (BLOCK_LEN / self.vocab_size.max(1)).max(MIN_BLOCK_ROWS));
        (0..rows).step_by(len).map(move |start| start..rows.min(start + len))
    }
}

/// The sum of the losses times `scale`, with the gradients of hidden and weight if wanted.
pub fn loss_and_gradients<T: Multiply>(
    hidden: &[T],
    weight: &[T],
    targets: &[u32],
    scale: f64,
    sizes: &Sizes,
    wanted: [bool; 2],
) -> (f64, Option<Vec<T>>, Option<Vec<T>>) {
    let &Sizes { columns, vocab_size, .. } = sizes;
    let d_hidden = wanted[0].then(|| SharedBuffer::new(hidden.len()));
    let mut d_weight = wanted[1].then(|| zeros(weight.len()));
    let mut loss = 0.;
    for_each_block(hidden, weight, sizes, |rows, logits| {
        let gradient_scale = T::from_f64(scale);
        let losses = for_each_row(logits, vocab_size, |row, logits| match targets[rows.start + row] {
            IGNORE_INDEX => {
                logits.fill(T::zero());
                T::zero()
            }
            target => loss_and_gradient(logits, target as usize, gradient_scale),
        });
        loss += losses.iter().map(|loss| loss.to_f64()).sum::<f64>();

        let d_logits = Matrix::new(logits, rows.len(), vocab_size, vocab_size);
        let elements = rows.start * columns..rows.end * columns;
        if let Some(d_hidden) = &d_hidden {
            let weight = Matrix::new(weight, vocab_size, columns, columns);
            // SAFETY: the rows of one block, which no other rectangle has.
            let mut d_hidden =
                unsafe { d_hidden.rectangle(rows.start * columns, rows.len(), columns, columns) };
            d_hidden.set_product(Onto::Nothing, T::one(), d_logits, weight, Threads::All);
        }
        if let Some(d_weight) = &mut d_weight {
            let hidden = Matrix::new(&hidden[elements], rows.len(), columns, columns);
            let mut d_weight = MatrixMut::new(d_weight, vocab_size, columns, columns);
            d_weight.set_product(Onto::Itself, T::one(), d_logits.transposed(), hidden, Threads::All);
        }
    });
    // SAFETY: the blocks are all rows.
    (loss * scale, d_hidden.map(|d_hidden| unsafe { d_hidden.into_vec() }), d_weight)
}

/// The loss of each row.
pub fn losses<T: Multiply>(hidden: &[T], weight: &[T], targets: &[u32], sizes: &Sizes) -> Vec<T> {
    let mut losses = Vec::with_capacity(sizes.rows);
    for_each_block(hidden, weight, sizes, |rows, logits| {
        losses.extend(for_each_row(logits, sizes.vocab_size, |row, logits| {
            match targets[rows.start + row] {
                IGNORE_INDEX => T::zero(),
                target => log_sum_exp(logits) - logits[target as usize],
            }
        }));
    });
    losses
}

/// Runs `task` on the logits of each block of rows.
fn for_each_block<T: Multiply>(
    hidden: &[T],
    weight: &[T],
    sizes: &Sizes,
    mut task: impl FnMut(Range<usize>, &mut [T]),
) {
    let &Sizes { columns, vocab_size, .. } = sizes;
    let largest = sizes.blocks().next().map_or(0, |rows| rows.len());
    let mut logits = Vec::with_capacity(largest * vocab_size);
    for rows in sizes.blocks() {
        let hidden = Matrix::new(&hidden[rows.start * columns..], rows.len(), columns, columns);
        let weight = Matrix::new(weight, vocab_size, columns, columns).transposed();
        set_product(&mut logits, hidden, weight);
        task(rows, &mut logits);
    }
}

vectorised! {
    fn log_sum_exp<T: Real>(logits: &[T]) -> T {
        let max = max_of(logits);
        max + sum_of([logits], |[logit]| (logit - max).exp()).ln()
    }

    /// The loss of a row, whose logits become scale (softmax - onehot).
    fn loss_and_gradient<T: Real>(logits: &mut [T], target: usize, scale: T) -> T {
        let max = max_of(logits);
        let target_logit = logits[target] - max;
        for logit in logits.iter_mut() {
            *logit = (*logit - max).exp();
        }
        let sum = sum_of([logits], |[exp]| exp);
        let factor = scale / sum;
        for logit in logits.iter_mut() {
            *logit *= factor;
        }
        logits[target] -= scale;
        sum.ln() - target_logit
    }
}
