//! Embedding kernels. Backward sorts the positions by id, so that each stretch of the table finds its own
//! and no two tasks add to the same row.

use rayon::prelude::*;

use super::super::base::real::Real;
use super::super::base::rows::{CHUNK, add_to, fill_rows};

/// y (ids.len(), columns).
pub fn forward<T: Real>(weight: &[T], ids: &[u32], columns: usize) -> Vec<T> {
    fill_rows(ids.len(), columns, |rows, y| {
        for (&id, y) in ids[rows].iter().zip(y.chunks_exact_mut(columns)) {
            y.copy_from_slice(&weight[id as usize * columns..][..columns]);
        }
    })
}

/// Adds the rows of d_y to the rows of d_weight that they came from, in their order. Other rows are not
/// touched.
pub fn backward<T: Real>(d_y: &[T], ids: &[u32], columns: usize, d_weight: &mut [T]) {
    let mut uses: Vec<(usize, usize)> =
        ids.iter().enumerate().map(|(position, &id)| (id as usize, position)).collect();
    uses.sort_unstable();
    let rows = (CHUNK / columns.max(1)).max(1);
    d_weight.par_chunks_mut(rows * columns).enumerate().for_each(|(chunk, d_weight)| {
        let first = chunk * rows;
        let uses = &uses[uses.partition_point(|&(id, _)| id < first)..];
        for &(id, position) in uses.iter().take_while(|&&(id, _)| id < first + rows) {
            let total = &mut d_weight[(id - first) * columns..][..columns];
            add_to(total, &d_y[position * columns..][..columns]);
        }
    });
}
