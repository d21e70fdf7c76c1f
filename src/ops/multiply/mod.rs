//! Dropout where there is no residual stream.
//!
//! One product of candle's forward and one backward, so there are neither kernels nor a reference.

#[cfg(test)]
mod tests;

use candle_core::{Result, Tensor};

use super::base::elements::{expect_like, expect_shape};
use super::base::tape::{Traced, record};

const NAME: &str = "multiply";

/// Multiplies each element by its factor.
///
/// Shapes: both alike. Dtypes: candle's float types.
/// Gradient: x; none for the factors, which are dropout's mask.
/// Errors: shape, dtype or device mismatch.
pub fn multiply(x: &Traced, factors: &Tensor) -> Result<Traced> {
    expect_shape(NAME, "factors", factors, x.dims())?;
    expect_like(NAME, "factors", factors, x.value())?;
    let y = (x.value() * factors)?;
    let (x, factors) = (x.place()?, factors.clone());
    Ok(record(y, x.is_tracked(), move |d_y, gradients| gradients.add(&x, (d_y.values() * factors)?)))
}
