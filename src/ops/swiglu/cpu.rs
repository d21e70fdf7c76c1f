//! SwiGLU kernels; rows in parallel.

use super::super::base::real::{Real, vectorised};
use super::super::base::rows::fill_rows;

/// y (rows, half) from gate_up (rows, 2 half).
pub fn forward<T: Real>(gate_up: &[T], half: usize) -> Vec<T> {
    fill_rows(gate_up.len() / (2 * half).max(1), half, |rows, y| {
        forward_rows(&gate_up[rows.start * 2 * half..rows.end * 2 * half], half, y);
    })
}

/// d_gate_up. With s = 1 / (1 + exp(-gate)): d_up = gate s d_y, d_gate = s (1 + gate (1 - s)) up d_y.
pub fn backward<T: Real>(gate_up: &[T], d_y: &[T], half: usize) -> Vec<T> {
    fill_rows(gate_up.len() / (2 * half).max(1), 2 * half, |rows, d_gate_up| {
        let d_y = &d_y[rows.start * half..rows.end * half];
        backward_rows(&gate_up[rows.start * 2 * half..rows.end * 2 * half], d_y, half, d_gate_up);
    })
}

vectorised! {
    fn forward_rows<T: Real>(gate_up: &[T], half: usize, y: &mut [T]) {
        for (gate_up, y) in gate_up.chunks_exact(2 * half).zip(y.chunks_exact_mut(half)) {
            let (gate, up) = gate_up.split_at(half);
            for ((y, &gate), &up) in y.iter_mut().zip(gate).zip(up) {
                *y = gate / (T::one() + (-gate).exp()) * up;
            }
        }
    }

    fn backward_rows<T: Real>(gate_up: &[T], d_y: &[T], half: usize, d_gate_up: &mut [T]) {
        let rows = gate_up.chunks_exact(2 * half).zip(d_y.chunks_exact(half));
        for ((gate_up, d_y), d_gate_up) in rows.zip(d_gate_up.chunks_exact_mut(2 * half)) {
            let (gate, up) = gate_up.split_at(half);
            let (d_gate, d_up) = d_gate_up.split_at_mut(half);
            let (up, d_y, d_up) = (&up[..half], &d_y[..half], &mut d_up[..half]);
            for i in 0..half {
                let sigmoid = T::one() / (T::one() + (-gate[i]).exp());
                d_up[i] = gate[i] * sigmoid * d_y[i];
                d_gate[i] = sigmoid * (T::one() + gate[i] * (T::one() - sigmoid)) * up[i] * d_y[i];
            }
        }
    }
}
