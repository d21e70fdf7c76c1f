//! Layer norm kernels; rows in parallel, mean and variance in two passes over a row in the cache.

use super::super::base::real::{Real, sum_of, vectorised};
use super::super::base::rows::{add_to, fill_rows, fill_rows_and_sum};

/// y = (x - mean) rstd weight + bias, x (rows, weight.len()).
pub fn forward<T: Real>(x: &[T], weight: &[T], bias: &[T], eps: T) -> Vec<T> {
    let columns = weight.len();
    fill_rows(x.len() / columns.max(1), columns, |rows, y| {
        forward_rows(&x[rows.start * columns..][..y.len()], weight, bias, eps, y);
    })
}

/// (d_x, onto which `onto` is added, d_weight, d_bias). With g = d_y weight and n = (x - mean) rstd:
/// d_x = rstd (g - mean(g) - n mean(g n)), d_weight = sum over rows of d_y n, d_bias = that of d_y.
pub fn backward<T: Real>(
    x: &[T],
    weight: &[T],
    d_y: &[T],
    onto: Option<&[T]>,
    eps: T,
) -> (Vec<T>, Vec<T>, Vec<T>) {
    let columns = weight.len();
    let rows = x.len() / columns.max(1);
    let (d_x, mut sums) = fill_rows_and_sum(rows, columns, 2 * columns, |rows, d_x, sums| {
        let chunk = rows.start * columns..rows.end * columns;
        let (d_weight, d_bias) = sums.split_at_mut(columns);
        backward_rows(&x[chunk.clone()], weight, &d_y[chunk.clone()], eps, d_x, d_weight, d_bias);
        if let Some(onto) = onto {
            add_to(d_x, &onto[chunk]);
        }
    });
    let d_bias = sums.split_off(columns);
    (d_x, sums, d_bias)
}

#[inline(always)]
fn mean_and_rstd<T: Real>(x: &[T], eps: T) -> (T, T) {
    let columns = T::from_f64(x.len() as f64);
    let mean = sum_of([x], |[x]| x) / columns;
    let variance = sum_of([x], |[x]| (x - mean) * (x - mean)) / columns;
    // A square too large for the type would make zeros of the row.
    let is_finite = variance != T::from_f64(f64::INFINITY);
    (mean, if is_finite { T::one() / (variance + eps).sqrt() } else { T::from_f64(f64::NAN) })
}

vectorised! {
    fn forward_rows<T: Real>(x: &[T], weight: &[T], bias: &[T], eps: T, y: &mut [T]) {
        let columns = weight.len();
        for (x, y) in x.chunks_exact(columns).zip(y.chunks_exact_mut(columns)) {
            let (mean, rstd) = mean_and_rstd(x, eps);
            for (((y, &x), &weight), &bias) in y.iter_mut().zip(x).zip(weight).zip(bias) {
                *y = ((x - mean) * rstd).mul_add(weight, bias);
            }
        }
    }

    fn backward_rows<T: Real>(
        x: &[T],
        weight: &[T],
        d_y: &[T],
        eps: T,
        d_x: &mut [T],
        d_weight: &mut [T],
        d_bias: &mut [T],
    ) {
        let columns = weight.len();
        let count = T::from_f64(columns as f64);
        let rows = x.chunks_exact(columns).zip(d_y.chunks_exact(columns));
        for ((x, d_y), d_x) in rows.zip(d_x.chunks_exact_mut(columns)) {
            let (mean, rstd) = mean_and_rstd(x, eps);
            let mean_g = sum_of([weight, d_y], |[weight, d_y]| d_y * weight) / count;
            let mean_g_n = sum_of([x, weight, d_y], |[x, weight, d_y]| d_y * weight * (x - mean)) * rstd / count;
            let (d_weight, d_bias) = (&mut d_weight[..columns], &mut d_bias[..columns]);
            for i in 0..columns {
                let normed = (x[i] - mean) * rstd;
                d_x[i] = rstd * (d_y[i] * weight[i] - mean_g - normed * mean_g_n);
                d_weight[i] += d_y[i] * normed;
                d_bias[i] += d_y[i];
            }
        }
    }
}
