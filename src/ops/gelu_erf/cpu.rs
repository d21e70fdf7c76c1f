//! Kernels of GELU by the error function.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use super::super::base::real::{Real, vectorised};
use super::super::base::rows::fill_rows;

pub fn forward<T: Real>(x: &[T]) -> Vec<T> {
    fill_rows(x.len(), 1, |range, y| forward_chunk(&x[range], y))
}

/// d_x. With P the distribution function and p its density: dy/dx = P(x) + x p(x).
pub fn backward<T: Real>(x: &[T], d_y: &[T]) -> Vec<T> {
    fill_rows(x.len(), 1, |range, d_x| backward_chunk(&x[range.clone()], &d_y[range], d_x))
}

vectorised! {
    fn forward_chunk<T: Real>(x: &[T], y: &mut [T]) {
        for (&x, y) in x.iter().zip(y) {
            *y = x * x.normal_cdf();
        }
    }

    fn backward_chunk<T: Real>(x: &[T], d_y: &[T], d_x: &mut [T]) {
        let scale = T::from_f64(0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2); // 1 / sqrt(2 pi)
        let half = T::from_f64(0.5);
        for ((&x, &d_y), d_x) in x.iter().zip(d_y).zip(d_x) {
            let density = (-(half * x * x)).exp() * scale;
            *d_x = d_y * x.mul_add(density, x.normal_cdf());
        }
    }
}
