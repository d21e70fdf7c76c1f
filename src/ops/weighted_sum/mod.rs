//! The loss of a batch from the losses of its rows.
//!
//! Two of candle's ops forward and one backward, so there are neither kernels nor a reference.

#[cfg(test)]
mod tests;

use candle_core::{Result, Tensor};

use super::base::elements::{expect_like, expect_shape};
use super::base::tape::{Traced, record};

const NAME: &str = "weighted_sum";

/// The scalar sum of all elements, each times its weight.
///
/// Shapes: both alike -> (). Dtypes: candle's float types.
/// Gradient: x; none for the weights.
/// Errors: shape, dtype or device mismatch.
pub fn weighted_sum(x: &Traced, weights: &Tensor) -> Result<Traced> {
    expect_shape(NAME, "weights", weights, x.dims())?;
    expect_like(NAME, "weights", weights, x.value())?;
    let y = (x.value() * weights)?.sum_all()?;
    let (x, weights) = (x.place()?, weights.clone());
    Ok(record(y, x.is_tracked(), move |d_y, gradients| {
        gradients.add(&x, weights.broadcast_mul(d_y.values())?)
    }))
}
