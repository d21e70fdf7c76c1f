//! `linear` by matrix products that read and write rectangles of the stacked tensors in place.

use std::ops::Range;

use super::super::base::matmul::{Matrix, MatrixMut, Multiply, Onto, SharedBuffer, Threads};
use super::super::base::rows::{add_to, column_sums};
use super::WeightLayout;

/// x is (rows, inputs), y is (rows, width), `outputs[i]` of its columns from weight i.
pub struct Sizes {
    pub rows: usize,
    pub inputs: usize,
    pub outputs: Vec<usize>,
    pub layout: WeightLayout,
}

impl Sizes {
    pub fn width(&self) -> usize {
        self.outputs.iter().sum()
    }

    /// Columns of y that come from weight i.
    pub fn columns(&self, i: usize) -> Range<usize> {
        let start = self.outputs[..i].iter().sum();
        start..start + self.outputs[i]
    }

    /// Weight i as (outputs, inputs).
    fn out_in<'a, T: Multiply>(&self, i: usize, weight: &'a [T]) -> Matrix<'a, T> {
        match self.layout {
            WeightLayout::OutIn => Matrix::new(weight, self.outputs[i], self.inputs, self.inputs),
            WeightLayout::InOut => {
                Matrix::new(weight, self.inputs, self.outputs[i], self.outputs[i]).transposed()
            }
        }
    }

    /// The columns of d_y, (rows, width), that belong to weight i.
    fn d_y<'a, T: Multiply>(&self, i: usize, d_y: &'a [T]) -> Matrix<'a, T> {
        let columns = self.columns(i);
        Matrix::new(&d_y[columns.start.min(d_y.len())..], self.rows, columns.len(), self.width())
    }
}

/// y while it is computed, weight by weight.
pub struct Output<'a, T> {
    y: SharedBuffer<T>,
    sizes: &'a Sizes,
}

impl<'a, T: Multiply> Output<'a, T> {
    pub fn new(sizes: &'a Sizes) -> Self {
        Self { y: SharedBuffer::new(sizes.rows * sizes.width()), sizes }
    }

    /// The columns of weight i: x W^T + b.
    pub fn set(&mut self, i: usize, x: &[T], weight: &[T], bias: Option<&[T]>) {
        let &Sizes { rows, inputs, .. } = self.sizes;
        let columns = self.sizes.columns(i);
        let x = Matrix::new(x, rows, inputs, inputs);
        let weight = self.sizes.out_in(i, weight).transposed();
        let onto = bias.map_or(Onto::Nothing, |bias| Onto::Row(&bias[columns.clone()]));
        // SAFETY: the only rectangle alive.
        let mut y = unsafe { self.y.rectangle(columns.start, rows, columns.len(), self.sizes.width()) };
        y.set_product(onto, T::one(), x, weight, Threads::All);
    }

    /// y, of which every weight's columns have been set.
    pub fn finish(self) -> Vec<T> {
        // SAFETY: the columns of all weights are the whole buffer.
        unsafe { self.y.into_vec() }
    }
}

/// d_x while it is computed, weight by weight.
pub struct InputGradient<'a, T> {
    d_x: SharedBuffer<T>,
    sizes: &'a Sizes,
}

impl<'a, T: Multiply> InputGradient<'a, T> {
    pub fn new(sizes: &'a Sizes) -> Self {
        Self { d_x: SharedBuffer::new(sizes.rows * sizes.inputs), sizes }
    }

    /// What weight i contributes, the first weight first: d_y W.
    pub fn add(&mut self, i: usize, weight: &[T], d_y: &[T]) {
        let &Sizes { rows, inputs, .. } = self.sizes;
        let onto = if i == 0 { Onto::Nothing } else { Onto::Itself };
        // SAFETY: the only rectangle alive; the first weight sets what the others add to.
        let mut d_x = unsafe { self.d_x.rectangle(0, rows, inputs, inputs) };
        let d_y = self.sizes.d_y(i, d_y);
        d_x.set_product(onto, T::one(), d_y, self.sizes.out_in(i, weight), Threads::All);
    }

    /// d_x, to which weight 0 has been added.
    pub fn finish(self) -> Vec<T> {
        // SAFETY: the first weight's product is the whole buffer.
        unsafe { self.d_x.into_vec() }
    }
}

/// d_W += d_y^T x for weight i, or its transpose, as the weight is stored.
pub fn backward_weight<T: Multiply>(i: usize, x: &[T], d_y: &[T], d_weight: &mut [T], sizes: &Sizes) {
    let x = Matrix::new(x, sizes.rows, sizes.inputs, sizes.inputs);
    let d_y = sizes.d_y(i, d_y);
    let (a, b) = match sizes.layout {
        WeightLayout::OutIn => (d_y.transposed(), x),
        WeightLayout::InOut => (x.transposed(), d_y),
    };
    let (rows, columns) = (a.rows(), b.columns());
    MatrixMut::new(d_weight, rows, columns, columns).set_product(Onto::Itself, T::one(), a, b, Threads::All);
}

/// d_b += column sums of d_y.
pub fn backward_bias<T: Multiply>(d_y: &[T], d_bias: &mut [T]) {
    add_to(d_bias, &column_sums(d_y, d_bias.len()));
}
