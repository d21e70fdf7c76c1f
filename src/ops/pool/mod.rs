//! One row for each sequence, from its rows.

mod cpu;
mod cuda;
pub(super) mod reference;
#[cfg(test)]
mod tests;

use candle_core::{Result, Tensor, bail};

use super::base::elements::Elements;
use super::base::gpu::on_gpu;
use super::base::real::by_dtype;
use super::base::tape::{Gradient, Traced, by_reference, record};

const NAME: &str = "pool";

/// Which rows of a sequence count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// The last one.
    Last,
    /// The first one.
    First,
    /// All alike.
    Mean,
    /// The last one, then the maximum of each column, then the mean.
    Concat,
}

impl Pool {
    /// Values that a column becomes.
    pub fn width(self) -> usize {
        if self == Self::Concat { 3 } else { 1 }
    }
}

/// The last row, the first row, the mean of the rows, or last, maximum and mean side by side, of each sequence.
///
/// Shapes: x (N, C), where N is the sum of `lengths` -> (lengths.len(), width C).
/// Dtypes: f32; f64 on the CPU, bf16 on a GPU (sums in f32).
/// Gradient: x; that of a maximum goes to the first of equal values.
/// Source: Howard and Ruder 2018, arXiv 1801.06146, section 3.3 (concat pooling).
/// Errors: not two dimensions, a length of 0, lengths that do not add up to N.
pub fn pool(x: &Traced, lengths: &[usize], which: Pool) -> Result<Traced> {
    let &[rows, columns] = x.dims() else {
        bail!("{NAME}: expected x of shape (N, C), got {:?}", x.dims());
    };
    if lengths.contains(&0) || lengths.iter().sum::<usize>() != rows {
        bail!("{NAME}: expected lengths above 0 that add up to {rows} rows, got {lengths:?}");
    }
    let (x, lengths) = (x.contiguous()?, lengths.to_vec());
    on_gpu!(which != Pool::Concat, x.value() => cuda::pool(&x, lengths, columns, which));
    if !x.device().is_cpu() {
        return by_reference(&[&x], move |t| reference::pool(&t[0], &lengths, which));
    }
    by_dtype!(NAME, x.dtype(), T => {
        let y = cpu::forward(&Elements::<T>::of(NAME, x.value())?, &lengths, columns, which);
        let y = Tensor::from_vec(y, (lengths.len(), which.width() * columns), x.device())?;
        Ok(record(y, x.is_tracked(), move |d_y, gradients| {
            let (d_y, values) = (Elements::<T>::of(NAME, d_y.values())?, Elements::<T>::of(NAME, x.value())?);
            let d_x = cpu::backward(&d_y, &values, &lengths, columns, which);
            gradients.add(&x, Gradient::new(d_x, x.dims())?)
        }))
    })
}
