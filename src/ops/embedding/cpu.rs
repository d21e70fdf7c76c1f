//! Embedding kernels. Backward sorts the positions by id, so that each stretch of the table finds its own
//! and no two tasks add to the same row.

use super::super::real::Real;
use super::super::rows::{add_to, fill_rows};

/// y (ids.len(), columns).
pub fn forward<T: Real>(weight: &[T], ids: &[u32], columns: usize) -> Vec<T> {
    fill_rows(ids.len(), columns, |rows, y| {
        for (&id, y) in ids[rows].iter().zip(y.chunks_exact_mut(columns)) {
            y.copy_from_slice(&weight[id as usize * columns..][..columns]);
        }
    })
}

/// d_weight (vocab_size, columns): the sum of d_y over the positions of each id, in their order.
pub fn backward<T: Real>(d_y: &[T], ids: &[u32], vocab_size: usize, columns: usize) -> Vec<T> {
    let mut uses: Vec<(usize, usize)> =
        ids.iter().enumerate().map(|(position, &id)| (id as usize, position)).collect();
    uses.sort_unstable();
    fill_rows(vocab_size, columns, |rows, d_weight| {
        let start = uses.partition_point(|&(id, _)| id < rows.start);
        for &(id, position) in uses[start..].iter().take_while(|&&(id, _)| id < rows.end) {
            let total = &mut d_weight[(id - rows.start) * columns..][..columns];
            add_to(total, &d_y[position * columns..][..columns]);
        }
    })
}
