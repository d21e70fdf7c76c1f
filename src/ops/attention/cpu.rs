//! Attention kernels: a task per sequence and key-value head, a step per block of query rows.
//!
//! Heads are read where they stand in the packed tensor, by stride. Products leave out the tiles that a causal mask
//! hides, which saves nearly half of them.

use std::ops::Range;

use rayon::prelude::*;

use super::super::base::matmul::{Matrix, MatrixMut, Multiply, Onto, SharedBuffer, Threads};
use super::Mask;
use super::softmax::{masked_softmax, softmax_backward};

/// Query rows per step: few enough that their scores stay in the second cache, many enough that packing the keys and
/// values for them pays.
const QUERY_BLOCK: usize = 128;

/// The packed tensor is (sum of lengths, (num_heads + 2 num_kv_heads) head_dim).
#[derive(Clone)]
pub struct Sizes {
    /// Rows of each sequence; the sequences stand one after the other.
    pub lengths: Vec<usize>,
    pub num_heads: usize,
    pub num_kv_heads: usize,
    pub head_dim: usize,
    pub mask: Mask,
}

/// y = softmax(scale q k^T + mask) v.
pub fn forward<T: Multiply>(qkv: &[T], sizes: &Sizes) -> Vec<T> {
    let y = SharedBuffer::new(sizes.rows() * sizes.out_width());
    sizes.for_each_kv_head(1, |scratch, sequence, kv_head| {
        let group = Group::new(qkv, &sequence, kv_head, sizes);
        for head in group.heads() {
            for block in blocks(sequence.len()) {
                let Seen { keys, first } = group.seen(&block);
                let weights = &mut scratch[..block.len() * keys];
                group.set_weights(weights, head, &block);
                let weights = Matrix::new(weights, block.len(), keys, keys).lower(first);
                let offset = sizes.out_offset(head, sequence.start + block.start);
                // SAFETY: a head's rows of one block are written by this step alone.
                let mut y = unsafe { y.rectangle(offset, block.len(), sizes.head_dim, sizes.out_width()) };
                y.set_product(Onto::Nothing, T::one(), weights, group.v(keys), Threads::One);
            }
        }
    });
    // SAFETY: the blocks of all heads of all sequences cover the buffer.
    unsafe { y.into_vec() }
}

/// d_qkv from d_y. With weights P and scores S: d_v = P^T d_y, d_P = d_y v^T,
/// d_S = P (d_P - rowsum(P d_P)), d_q = scale d_S k, d_k = scale d_S^T q.
pub fn backward<T: Multiply>(qkv: &[T], d_y: &[T], sizes: &Sizes) -> Vec<T> {
    let d_qkv = SharedBuffer::new(qkv.len());
    sizes.for_each_kv_head(2, |scratch, sequence, kv_head| {
        let group = Group::new(qkv, &sequence, kv_head, sizes);
        let mut onto = Onto::Nothing;
        for head in group.heads() {
            // The last block comes first: it always sees all keys, so its products set d_k and d_v, and the
            // products of all other blocks and heads add to them.
            for block in blocks(sequence.len()).rev() {
                let d_y = &d_y[sizes.out_offset(head, sequence.start + block.start)..];
                let d_y = Matrix::new(d_y, block.len(), sizes.head_dim, sizes.out_width());
                // SAFETY: only this task writes the columns of this key-value head and of its query heads.
                unsafe { group.backward_block(scratch, head, &block, d_y, &d_qkv, onto) };
                onto = Onto::Itself;
            }
        }
    });
    // SAFETY: the blocks cover all queries, and the first block of a task all its keys and values.
    unsafe { d_qkv.into_vec() }
}

/// The rows of each block of queries of a sequence.
fn blocks(seq_len: usize) -> impl DoubleEndedIterator<Item = Range<usize>> {
    (0..seq_len.div_ceil(QUERY_BLOCK))
        .map(move |block| block * QUERY_BLOCK..seq_len.min((block + 1) * QUERY_BLOCK))
}

impl Sizes {
    /// Rows of all sequences.
    fn rows(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// Width of qkv.
    fn width(&self) -> usize {
        (self.num_heads + 2 * self.num_kv_heads) * self.head_dim
    }

    /// Width of the result.
    fn out_width(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Where a head's part of a row stands in the result.
    fn out_offset(&self, head: usize, row: usize) -> usize {
        row * self.out_width() + head * self.head_dim
    }

    fn scale<T: Multiply>(&self) -> T {
        T::from_f64((self.head_dim as f64).powf(-0.5))
    }

    /// Runs `task(scratch, rows of the sequence, kv_head)` for all pairs, with scratch for `buffers` blocks of
    /// scores.
    fn for_each_kv_head<T: Multiply>(
        &self,
        buffers: usize,
        task: impl Fn(&mut [T], Range<usize>, usize) + Sync,
    ) {
        let mut rows = 0;
        let sequences: Vec<Range<usize>> = self
            .lengths
            .iter()
            .map(|length| {
                rows += length;
                rows - length..rows
            })
            .collect();
        let longest = self.lengths.iter().copied().max().unwrap_or(0);
        let len = buffers * QUERY_BLOCK.min(longest) * longest;
        (0..sequences.len() * self.num_kv_heads).into_par_iter().for_each_init(
            || vec![T::zero(); len],
            |scratch, index| {
                let sequence = sequences[index / self.num_kv_heads].clone();
                task(scratch, sequence, index % self.num_kv_heads);
            },
        );
    }
}

/// What a block of queries sees: so many keys, of which its row i those up to `first + i`.
struct Seen {
    keys: usize,
    first: usize,
}

/// One key-value head of one sequence, with the query heads that use it.
struct Group<'a, T> {
    /// qkv of the sequence, (seq_len, width).
    qkv: &'a [T],
    /// Where the sequence starts in qkv of all sequences.
    start: usize,
    kv_head: usize,
    sizes: &'a Sizes,
}

impl<'a, T: Multiply> Group<'a, T> {
    fn new(qkv: &'a [T], sequence: &Range<usize>, kv_head: usize, sizes: &'a Sizes) -> Self {
        let start = sequence.start * sizes.width();
        Self { qkv: &qkv[start..sequence.end * sizes.width()], start, kv_head, sizes }
    }

    fn heads(&self) -> Range<usize> {
        let size = self.sizes.num_heads / self.sizes.num_kv_heads;
        self.kv_head * size..(self.kv_head + 1) * size
    }

    fn seen(&self, block: &Range<usize>) -> Seen {
        let seq_len = self.qkv.len() / self.sizes.width();
        match self.sizes.mask {
            Mask::Causal => Seen { keys: block.end, first: block.start },
            Mask::Bidirectional => Seen { keys: seq_len, first: seq_len },
        }
    }

    /// Where the queries of a block start in the sequence.
    fn q_offset(&self, head: usize, block: &Range<usize>) -> usize {
        block.start * self.sizes.width() + head * self.sizes.head_dim
    }

    fn k_offset(&self) -> usize {
        (self.sizes.num_heads + self.kv_head) * self.sizes.head_dim
    }

    fn v_offset(&self) -> usize {
        self.k_offset() + self.sizes.num_kv_heads * self.sizes.head_dim
    }

    /// `rows` vectors of a head, (rows, head_dim).
    fn vectors(&self, offset: usize, rows: usize) -> Matrix<'a, T> {
        Matrix::new(&self.qkv[offset..], rows, self.sizes.head_dim, self.sizes.width())
    }

    /// The first `keys` values.
    fn v(&self, keys: usize) -> Matrix<'a, T> {
        self.vectors(self.v_offset(), keys)
    }

    /// Softmax weights of a block of queries, (block, keys).
    fn set_weights(&self, weights: &mut [T], head: usize, block: &Range<usize>) {
        let (rows, Seen { keys, first }) = (block.len(), self.seen(block));
        let q = self.vectors(self.q_offset(head, block), rows);
        let k = self.vectors(self.k_offset(), keys);
        let mut scores = MatrixMut::new(weights, rows, keys, keys).lower(first);
        scores.set_product(Onto::Nothing, self.sizes.scale(), q, k.transposed(), Threads::One);
        masked_softmax(weights, first, keys);
    }

    /// What a block of queries adds to d_qkv; d_k and d_v are added onto nothing or themselves.
    ///
    /// # Safety
    /// Nothing else may write the columns of this key-value head and of `head` meanwhile, and only the first
    /// block, which must be the last of the sequence, is added onto nothing.
    unsafe fn backward_block(
        &self,
        scratch: &mut [T],
        head: usize,
        block: &Range<usize>,
        d_y: Matrix<T>,
        d_qkv: &SharedBuffer<T>,
        onto: Onto<T>,
    ) {
        let (rows, Seen { keys, first }) = (block.len(), self.seen(block));
        let (weights, d_scores) = scratch.split_at_mut(scratch.len() / 2);
        let (weights, d_scores) = (&mut weights[..rows * keys], &mut d_scores[..rows * keys]);
        let (one, scale, serial) = (T::one(), self.sizes.scale(), Threads::One);
        self.set_weights(weights, head, block);
        let mut d_weights = MatrixMut::new(d_scores, rows, keys, keys).lower(first);
        d_weights.set_product(Onto::Nothing, one, d_y, self.v(keys).transposed(), serial);
        softmax_backward(weights, d_scores, first, keys);

        let weights = Matrix::new(weights, rows, keys, keys).lower(first);
        let d_scores = Matrix::new(d_scores, rows, keys, keys).lower(first);
        let q_offset = self.q_offset(head, block);
        let (q, k) = (self.vectors(q_offset, rows), self.vectors(self.k_offset(), keys));
        // SAFETY: by the caller's promise; the three rectangles are disjoint columns.
        let [mut d_q, mut d_k, mut d_v] =
            [(q_offset, rows), (self.k_offset(), keys), (self.v_offset(), keys)].map(
                |(offset, rows)| unsafe {
                    d_qkv.rectangle(self.start + offset, rows, self.sizes.head_dim, self.sizes.width())
                },
            );
        d_q.set_product(Onto::Nothing, scale, d_scores, k, serial);
        d_k.set_product(onto, scale, d_scores.transposed(), q, serial);
        d_v.set_product(onto, one, weights.transposed(), d_y, serial);
    }
}
