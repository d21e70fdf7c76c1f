//! GELU kernels. 1 + tanh(u) is 2 / (1 + exp(-2u)), which needs no tanh and does not cancel.

use std::f64::consts::FRAC_2_PI;

use super::super::base::real::{Real, vectorised};
use super::super::base::rows::fill_rows;
use super::CUBIC;

pub fn forward<T: Real>(x: &[T]) -> Vec<T> {
    fill_rows(x.len(), 1, |range, y| forward_chunk(&x[range], y))
}

/// d_x. With s = 1 / (1 + exp(-2u)): y = x s, so dy/dx = s + 2 x s (1 - s) du/dx.
pub fn backward<T: Real>(x: &[T], d_y: &[T]) -> Vec<T> {
    fill_rows(x.len(), 1, |range, d_x| backward_chunk(&x[range.clone()], &d_y[range], d_x))
}

vectorised! {
    fn forward_chunk<T: Real>(x: &[T], y: &mut [T]) {
        // 2u = (first + third x^2) x.
        let (first, third) = coefficients();
        for (&x, y) in x.iter().zip(y) {
            let twice_u = (x * x).mul_add(third, first) * x;
            *y = x / (T::one() + (-twice_u).exp());
        }
    }

    fn backward_chunk<T: Real>(x: &[T], d_y: &[T], d_x: &mut [T]) {
        let (first, third) = coefficients();
        let three = T::from_f64(3.);
        for ((&x, &d_y), d_x) in x.iter().zip(d_y).zip(d_x) {
            let square = x * x;
            let twice_u = square.mul_add(third, first) * x;
            let slope = square.mul_add(three * third, first); // of 2u
            let sigmoid = T::one() / (T::one() + (-twice_u).exp());
            *d_x = d_y * sigmoid * (x * (T::one() - sigmoid)).mul_add(slope, T::one());
        }
    }
}

#[inline(always)]
fn coefficients<T: Real>() -> (T, T) {
    let first = 2. * FRAC_2_PI.sqrt();
    (T::from_f64(first), T::from_f64(first * CUBIC))
}
