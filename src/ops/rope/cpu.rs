//! Rotary embedding kernels; rows in parallel.

use super::super::base::real::{Real, vectorised};
use super::super::base::rows::fill_rows;
use super::Tables;

/// The rows of x (N, width) with their first heads turned by `sign` times their angles: 1 forward, -1 for the gradient.
pub fn rotate<T: Real>(
    x: &[T],
    tables: &Tables<&[u32], &[T]>,
    width: usize,
    num_rotated_heads: usize,
    sign: T,
) -> Vec<T> {
    let &Tables { positions, cos, sin, half } = tables;
    fill_rows(positions.len(), width, |rows, out| {
        for (row, y) in rows.zip(out.chunks_exact_mut(width)) {
            let x = &x[row * width..][..width];
            let position = positions[row] as usize;
            let angles = position * half..(position + 1) * half;
            let rotated = num_rotated_heads * 2 * half;
            rotate_heads(&x[..rotated], &cos[angles.clone()], &sin[angles], sign, &mut y[..rotated]);
            y[rotated..].copy_from_slice(&x[rotated..]);
        }
    })
}

vectorised! {
    fn rotate_heads<T: Real>(x: &[T], cos: &[T], sin: &[T], sign: T, y: &mut [T]) {
        let half = cos.len();
        for (x, y) in x.chunks_exact(2 * half).zip(y.chunks_exact_mut(2 * half)) {
            let (a, b) = x.split_at(half);
            let (first, second) = y.split_at_mut(half);
            let (b, sin, second) = (&b[..half], &sin[..half], &mut second[..half]);
            for i in 0..half {
                let sin = sign * sin[i];
                first[i] = a[i] * cos[i] - b[i] * sin;
                second[i] = b[i] * cos[i] + a[i] * sin;
            }
        }
    }
}
