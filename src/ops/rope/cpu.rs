//! Rotary embedding kernels; rows (one position of one sequence) in parallel.

use super::super::real::{Real, vectorised};
use super::super::rows::fill_rows;

/// The tensor is (batch, seq_len, width), with heads of 2 `half`.
pub struct Sizes {
    pub batch: usize,
    pub seq_len: usize,
    pub width: usize,
    pub half: usize,
    pub num_rotated_heads: usize,
}

/// Rotates by the angle.
pub fn forward<T: Real>(x: &[T], cos: &[T], sin: &[T], sizes: &Sizes) -> Vec<T> {
    rotate(x, cos, sin, T::one(), sizes)
}

/// d_x from d_y: rotates by the negative angle.
pub fn backward<T: Real>(d_y: &[T], cos: &[T], sin: &[T], sizes: &Sizes) -> Vec<T> {
    rotate(d_y, cos, sin, -T::one(), sizes)
}

fn rotate<T: Real>(x: &[T], cos: &[T], sin: &[T], sign: T, sizes: &Sizes) -> Vec<T> {
    let &Sizes { batch, seq_len, width, half, num_rotated_heads } = sizes;
    fill_rows(batch * seq_len, width, |rows, out| {
        for (row, y) in rows.zip(out.chunks_exact_mut(width)) {
            let x = &x[row * width..][..width];
            let angles = row % seq_len * half..(row % seq_len + 1) * half;
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
