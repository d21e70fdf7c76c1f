//! RMS norm kernels; rows in parallel.

use super::super::base::real::{Real, sum_of, vectorised};
use super::super::base::rows::{add_to, fill_rows, fill_rows_and_sum};

/// y = x rstd weight, x (rows, weight.len()).
pub fn forward<T: Real>(x: &[T], weight: &[T], eps: T) -> Vec<T> {
    let columns = weight.len();
    fill_rows(x.len() / columns.max(1), columns, |rows, y| {
        forward_rows(&x[rows.start * columns..][..y.len()], weight, eps, y);
    })
}

/// (d_x, onto which `onto` is added, d_weight). With g = d_y weight and n = x rstd: d_x = rstd (g - n mean(g n)),
/// d_weight = sum over rows of d_y n.
pub fn backward<T: Real>(x: &[T], weight: &[T], d_y: &[T], onto: Option<&[T]>, eps: T) -> (Vec<T>, Vec<T>) {
    let columns = weight.len();
    fill_rows_and_sum(x.len() / columns.max(1), columns, columns, |rows, d_x, d_weight| {
        let chunk = rows.start * columns..rows.end * columns;
        backward_rows(&x[chunk.clone()], weight, &d_y[chunk.clone()], eps, d_x, d_weight);
        if let Some(onto) = onto {
            add_to(d_x, &onto[chunk]);
        }
    })
}

#[inline(always)]
fn rstd<T: Real>(x: &[T], eps: T) -> T {
    let mean_square = sum_of([x], |[x]| x * x) / T::from_f64(x.len() as f64);
    // A square too large for the type would make zeros of the row.
    if mean_square == T::from_f64(f64::INFINITY) {
        return T::from_f64(f64::NAN);
    }
    T::one() / (mean_square + eps).sqrt()
}

vectorised! {
    fn forward_rows<T: Real>(x: &[T], weight: &[T], eps: T, y: &mut [T]) {
        let columns = weight.len();
        for (x, y) in x.chunks_exact(columns).zip(y.chunks_exact_mut(columns)) {
            let rstd = rstd(x, eps);
            for ((y, &x), &weight) in y.iter_mut().zip(x).zip(weight) {
                *y = x * rstd * weight;
            }
        }
    }

    fn backward_rows<T: Real>(x: &[T], weight: &[T], d_y: &[T], eps: T, d_x: &mut [T], d_weight: &mut [T]) {
        let columns = weight.len();
        let rows = x.chunks_exact(columns).zip(d_y.chunks_exact(columns));
        for ((x, d_y), d_x) in rows.zip(d_x.chunks_exact_mut(columns)) {
            let rstd = rstd(x, eps);
            let mean = sum_of([x, weight, d_y], |[x, weight, d_y]| d_y * weight * x) * rstd
                / T::from_f64(columns as f64);
            let (weight, d_weight) = (&weight[..columns], &mut d_weight[..columns]);
            for i in 0..columns {
                let normed = x[i] * rstd;
                d_x[i] = rstd * (d_y[i] * weight[i] - normed * mean);
                d_weight[i] += d_y[i] * normed;
            }
        }
    }
}
