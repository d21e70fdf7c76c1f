//! Pooling kernels. They touch one number per row and column, so they run on one thread.

use super::super::real::Real;
use super::super::rows::add_to;
use super::Pool;

pub fn forward<T: Real>(x: &[T], lengths: &[usize], columns: usize, which: Pool) -> Vec<T> {
    let mut y = vec![T::zero(); lengths.len() * columns];
    let mut rows = x.chunks_exact(columns.max(1));
    for (y, &length) in y.chunks_exact_mut(columns.max(1)).zip(lengths) {
        for (i, row) in rows.by_ref().take(length).enumerate() {
            match which {
                Pool::Last if i + 1 < length => {}
                _ => add_to(y, row),
            }
        }
        let share = share::<T>(which, length);
        y.iter_mut().for_each(|y| *y *= share);
    }
    y
}

/// d_x: the gradient of its sequence for each row that counts, times the row's share.
pub fn backward<T: Real>(d_y: &[T], lengths: &[usize], columns: usize, which: Pool) -> Vec<T> {
    let mut d_x = vec![T::zero(); lengths.iter().sum::<usize>() * columns];
    let mut rows = d_x.chunks_exact_mut(columns.max(1));
    for (d_y, &length) in d_y.chunks_exact(columns.max(1)).zip(lengths) {
        let share = share::<T>(which, length);
        for (i, row) in rows.by_ref().take(length).enumerate() {
            if which == Pool::Mean || i + 1 == length {
                row.iter_mut().zip(d_y).for_each(|(d_x, &d_y)| *d_x = share * d_y);
            }
        }
    }
    d_x
}

fn share<T: Real>(which: Pool, length: usize) -> T {
    match which {
        Pool::Last => T::one(),
        Pool::Mean => T::from_f64(1. / length as f64),
    }
}
