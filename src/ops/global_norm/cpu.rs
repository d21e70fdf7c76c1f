//! The sum of squares; chunks in parallel.

use rayon::prelude::*;

use crate::ops::base::real::{Real, sum_of, vectorised};
use crate::ops::base::rows::CHUNK;

/// Each chunk in `T`, all of them in f64.
pub fn sum_of_squares<T: Real>(x: &[T]) -> f64 {
    let sums: Vec<f64> = x.par_chunks(CHUNK).map(|chunk| squares(chunk).to_f64()).collect();
    sums.into_iter().sum()
}

vectorised! {
    fn squares<T: Real>(x: &[T]) -> T {
        sum_of([x], |[x]| x * x)
    }
}
