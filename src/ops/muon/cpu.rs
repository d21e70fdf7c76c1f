//! Muon kernels: passes over chunks, and the products of Newton and Schulz's iteration.

use rayon::prelude::*;

use super::super::base::matmul::{Matrix, Multiply, set_product};
use super::super::base::real::{Real, sum_of, vectorised};
use super::super::base::rows::{CHUNK, map_rows};
use super::{COEFFICIENTS, EPS, ITERATIONS, MuonStep};

/// The momentum from the gradient; returns the direction, the momentum that the next step would have after the same
/// gradient.
pub fn update_momentum<T: Real>(momentum: &mut [T], grad: &[T], update: &MuonStep) -> Vec<T> {
    let mut direction = grad.to_vec();
    let chunks = momentum.par_chunks_mut(CHUNK).zip(direction.par_chunks_mut(CHUNK));
    chunks.for_each(|(momentum, direction)| momentum_chunk(momentum, direction, update));
    direction
}

/// The parameter, in rows of `columns`, from the orthogonal direction.
pub fn update_param<T: Real>(param: &mut [T], direction: &[T], columns: usize, update: &MuonStep) {
    let keep = T::from_f64(1. - update.learning_rate * update.weight_decay);
    let step_size = T::from_f64(update.step_size(param.len() / columns.max(1), columns));
    let chunks = param.par_chunks_mut(CHUNK).zip(direction.par_chunks(CHUNK));
    chunks.for_each(|(param, direction)| combine_chunk(param, keep, direction, -step_size));
}

/// The (rows, columns) matrix with its singular values brought near 1.
pub fn orthogonalized<T: Multiply>(mut x: Vec<T>, rows: usize, columns: usize) -> Vec<T> {
    let [a, b, c] = COEFFICIENTS.map(T::from_f64);
    let squares = map_rows(&x, columns, rows, |_, row| sum_of([row], |[x]| x * x));
    let norm = squares.iter().map(|square| square.to_f64()).sum::<f64>().sqrt() + EPS;
    let scale = T::from_f64(norm.recip());
    x.par_chunks_mut(CHUNK).for_each(|x| scale_chunk(x, scale));

    let short = rows.min(columns);
    let (mut gram, mut factor, mut next) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ITERATIONS {
        let wide = Matrix::new(&x, rows, columns, columns);
        let wide = if rows <= columns { wide } else { wide.transposed() };
        set_product(&mut gram, wide, wide.transposed());
        let square = Matrix::new(&gram, short, short, short);
        set_product(&mut factor, square, square);
        // a I + b G + c G G, symmetric, so it may stand on either side.
        let chunks = factor.par_chunks_mut(CHUNK).zip(gram.par_chunks(CHUNK));
        chunks.for_each(|(factor, gram)| combine_chunk(factor, c, gram, b));
        factor.iter_mut().step_by(short + 1).for_each(|diagonal| *diagonal += a);
        let factor = Matrix::new(&factor, short, short, short);
        let x_now = Matrix::new(&x, rows, columns, columns);
        let (left, right) = if rows <= columns { (factor, x_now) } else { (x_now, factor) };
        set_product(&mut next, left, right);
        std::mem::swap(&mut x, &mut next);
    }
    x
}

vectorised! {
    fn momentum_chunk<T: Real>(momentum: &mut [T], direction: &mut [T], update: &MuonStep) {
        let [decay, scale] = [update.momentum, update.grad_scale].map(T::from_f64);
        for (momentum, direction) in momentum.iter_mut().zip(direction) {
            let grad = *direction * scale;
            *momentum = decay * *momentum + grad;
            *direction = grad + decay * *momentum;
        }
    }

    /// x = scale x + other_scale other.
    fn combine_chunk<T: Real>(x: &mut [T], scale: T, other: &[T], other_scale: T) {
        for (x, &other) in x.iter_mut().zip(other) {
            *x = scale * *x + other_scale * other;
        }
    }

    fn scale_chunk<T: Real>(x: &mut [T], scale: T) {
        x.iter_mut().for_each(|x| *x *= scale);
    }
}
