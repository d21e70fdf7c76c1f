//! Kernels of `add_columns`; rows in parallel.

use crate::ops::base::real::Real;
use crate::ops::base::rows::fill_rows;

/// y from x (rows, width) and branch (rows, columns).
pub fn forward<T: Real>(
    x: &[T],
    branch: &[T],
    [width, columns]: [usize; 2],
    start: usize,
    scale: T,
) -> Vec<T> {
    fill_rows(x.len() / width.max(1), width, |range, out| {
        out.copy_from_slice(&x[range.start * width..range.end * width]);
        for (row, out) in range.zip(out.chunks_exact_mut(width)) {
            let branch = &branch[row * columns..][..columns];
            out[start..].iter_mut().zip(branch).for_each(|(y, b)| *y += *b * scale);
        }
    })
}

/// d_branch; d_x is d_y.
pub fn backward<T: Real>(d_y: &[T], [width, columns]: [usize; 2], start: usize, scale: T) -> Vec<T> {
    fill_rows(d_y.len() / width.max(1), columns, |range, out| {
        for (row, out) in range.zip(out.chunks_exact_mut(columns)) {
            let d_y = &d_y[row * width + start..][..columns];
            out.iter_mut().zip(d_y).for_each(|(d_b, d_y)| *d_b = *d_y * scale);
        }
    })
}
