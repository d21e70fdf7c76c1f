//! `linear` by the `gemm` crate, which splits one product over all threads.

use super::super::matmul::{Matrix, MatrixMut, SharedBuffer, all_threads};
use super::super::real::Real;
use super::super::rows::{column_sums, fill_rows};
use super::WeightLayout;

/// x is (rows, inputs), y is (rows, outputs).
pub struct Sizes {
    pub rows: usize,
    pub inputs: usize,
    pub outputs: usize,
    layout: WeightLayout,
}

impl Sizes {
    pub fn new(x: &[usize], weight: &[usize], layout: WeightLayout) -> Self {
        let (inputs, outputs) = match layout {
            WeightLayout::OutIn => (weight[1], weight[0]),
            WeightLayout::InOut => (weight[0], weight[1]),
        };
        Self { rows: x[..x.len() - 1].iter().product(), inputs, outputs, layout }
    }

    /// The weight as (outputs, inputs).
    fn out_in<'a, T: Real>(&self, weight: &'a [T]) -> Matrix<'a, T> {
        match self.layout {
            WeightLayout::OutIn => Matrix::new(weight, self.outputs, self.inputs, self.inputs),
            WeightLayout::InOut => Matrix::new(weight, self.inputs, self.outputs, self.outputs).transposed(),
        }
    }
}

/// y = x W^T + b.
pub fn forward<T: Real>(x: &[T], weight: &[T], bias: Option<&[T]>, sizes: &Sizes) -> Vec<T> {
    let &Sizes { rows, inputs, outputs, .. } = sizes;
    let x = Matrix::new(x, rows, inputs, inputs);
    let weight = sizes.out_in(weight).transposed();
    let Some(bias) = bias else { return product(rows, outputs, x, weight) };
    // The product is added to rows that already hold the bias.
    let mut y = fill_rows(rows, outputs, |_, out| {
        out.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(bias));
    });
    MatrixMut::new(&mut y, rows, outputs, outputs).set_product(true, T::one(), x, weight, all_threads());
    y
}

/// d_x = d_y W.
pub fn backward_x<T: Real>(weight: &[T], d_y: &[T], sizes: &Sizes) -> Vec<T> {
    let d_y = Matrix::new(d_y, sizes.rows, sizes.outputs, sizes.outputs);
    product(sizes.rows, sizes.inputs, d_y, sizes.out_in(weight))
}

/// d_W = d_y^T x, or its transpose, as the weight is stored.
pub fn backward_weight<T: Real>(x: &[T], d_y: &[T], sizes: &Sizes) -> Vec<T> {
    let x = Matrix::new(x, sizes.rows, sizes.inputs, sizes.inputs);
    let d_y = Matrix::new(d_y, sizes.rows, sizes.outputs, sizes.outputs);
    match sizes.layout {
        WeightLayout::OutIn => product(sizes.outputs, sizes.inputs, d_y.transposed(), x),
        WeightLayout::InOut => product(sizes.inputs, sizes.outputs, x.transposed(), d_y),
    }
}

/// d_b = column sums of d_y.
pub fn backward_bias<T: Real>(d_y: &[T], outputs: usize) -> Vec<T> {
    column_sums(d_y, outputs)
}

/// a b in fresh memory.
fn product<T: Real>(rows: usize, columns: usize, a: Matrix<T>, b: Matrix<T>) -> Vec<T> {
    let out = SharedBuffer::new(rows * columns);
    // SAFETY: this is the only rectangle, it is the whole buffer, and the product sets every element.
    unsafe {
        out.rectangle(0, rows, columns, columns).set_product(false, T::one(), a, b, all_threads());
        out.into_vec()
    }
}
