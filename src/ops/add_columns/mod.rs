//! A low-rank update, added to the columns that belong to its weight.
//!
//! Without a GPU kernel: there it runs as its reference.

mod cpu;
mod reference;
#[cfg(test)]
mod tests;

use candle_core::{Result, Tensor, bail};

use super::base::elements::{Elements, expect_like, expect_shape};
use super::base::real::by_dtype;
use super::base::tape::{Gradient, Traced, by_reference, record};

const NAME: &str = "add_columns";

/// Adds `branch` times `scale` to the columns of `x` from `start` on.
///
/// y[:, start + j] = x[:, start + j] + scale * branch[:, j]; the other columns stay as they are.
/// Shapes: x (N, C), branch (N, B) with start + B <= C -> (N, C). Dtypes: f32, f64; any float type on a GPU.
/// Gradient: x, branch; the elements of neither are kept for it.
/// Errors: shape, dtype or device mismatch.
pub fn add_columns(x: &Traced, branch: &Traced, start: usize, scale: f64) -> Result<Traced> {
    let (rows, width) = x.value().dims2()?;
    let columns = branch.value().dims2()?.1;
    expect_shape(NAME, "branch", branch.value(), &[rows, columns])?;
    expect_like(NAME, "branch", branch.value(), x.value())?;
    if start + columns > width {
        bail!("{NAME}: columns {start}..{} do not lie in {width}", start + columns);
    }
    if !x.device().is_cpu() {
        return by_reference(&[x, branch], move |t| reference::add_columns(&t[0], &t[1], start, scale));
    }
    let (x, branch) = (x.contiguous()?, branch.contiguous()?);
    by_dtype!(NAME, x.dtype(), T => {
        let scale = T::from_f64(scale);
        let widths = [width, columns];
        let y = cpu::forward(
            &Elements::<T>::of(NAME, x.value())?,
            &Elements::of(NAME, branch.value())?,
            widths,
            start,
            scale,
        );
        let y = Tensor::from_vec(y, (rows, width), x.device())?;
        let (x, branch) = (x.place()?, branch.place()?);
        Ok(record(y, x.is_tracked() || branch.is_tracked(), move |d_y, gradients| {
            let d_branch = cpu::backward(&Elements::<T>::of(NAME, d_y.values())?, widths, start, scale);
            gradients.add(&branch, Gradient::new(d_branch, branch.dims())?)?;
            gradients.add(&x, d_y)
        }))
    })
}
