//! Kernels of sums, element by element.

use crate::ops::base::real::Real;
use crate::ops::base::rows::fill_rows;

/// y = residual + branch * factors.
pub fn forward<T: Real>(residual: &[T], branch: &[T], factors: Option<&[T]>) -> Vec<T> {
    match factors {
        Some(factors) => combined([residual, branch, factors], |[a, b, factor]| a + b * factor),
        None => combined([residual, branch], |[a, b]| a + b),
    }
}

/// d_branch = d_y * factors.
pub fn backward<T: Real>(d_y: &[T], factors: &[T]) -> Vec<T> {
    combined([d_y, factors], |[d_y, factor]| d_y * factor)
}

/// `value` of the elements of all inputs that stand at the same place.
fn combined<T: Real, const N: usize>(inputs: [&[T]; N], value: impl Fn([T; N]) -> T + Sync) -> Vec<T> {
    let len = inputs.iter().map(|input| input.len()).min().unwrap_or(0);
    fill_rows(len, 1, |range, out| {
        let inputs = inputs.map(|input| &input[range.clone()][..out.len()]);
        for (i, out) in out.iter_mut().enumerate() {
            *out = value(inputs.map(|input| input[i]));
        }
    })
}
