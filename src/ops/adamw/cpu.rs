//! AdamW kernels: one pass for the moments, one for the parameter, chunks in parallel.

use rayon::prelude::*;

use super::super::base::real::{Real, vectorised};
use super::super::base::rows::CHUNK;
use super::AdamwStep;

/// The two moments, one after the other, from the gradient.
pub fn update_moments<T: Real>(moments: &mut [T], grad: &[T], update: &AdamwStep) {
    let (m, v) = moments.split_at_mut(grad.len());
    let chunks = m.par_chunks_mut(CHUNK).zip(v.par_chunks_mut(CHUNK)).zip(grad.par_chunks(CHUNK));
    chunks.for_each(|((m, v), grad)| moments_chunk(m, v, grad, update));
}

/// The parameter from the two moments.
pub fn update_param<T: Real>(param: &mut [T], moments: &[T], update: &AdamwStep) {
    let (m, v) = moments.split_at(param.len());
    let chunks = param.par_chunks_mut(CHUNK).zip(m.par_chunks(CHUNK)).zip(v.par_chunks(CHUNK));
    chunks.for_each(|((param, m), v)| param_chunk(param, m, v, update));
}

vectorised! {
    fn moments_chunk<T: Real>(m: &mut [T], v: &mut [T], grad: &[T], update: &AdamwStep) {
        let [beta1, beta2] = [update.beta1, update.beta2].map(T::from_f64);
        let [rest1, rest2] = [1. - update.beta1, 1. - update.beta2].map(T::from_f64);
        let scale = T::from_f64(update.grad_scale);
        for ((m, v), &grad) in m.iter_mut().zip(v).zip(grad) {
            let grad = grad * scale;
            *m = beta1 * *m + rest1 * grad;
            *v = beta2 * *v + rest2 * grad * grad;
        }
    }

    fn param_chunk<T: Real>(param: &mut [T], m: &[T], v: &[T], update: &AdamwStep) {
        let (correction1, correction2) = update.bias_corrections();
        let keep = T::from_f64(1. - update.learning_rate * update.weight_decay);
        let step_size = T::from_f64(update.learning_rate / correction1);
        let root_scale = T::from_f64(correction2.sqrt().recip());
        let eps = T::from_f64(update.eps);
        for ((param, &m), &v) in param.iter_mut().zip(m).zip(v) {
            *param = *param * keep - step_size * m / (v.sqrt() * root_scale + eps);
        }
    }
}
