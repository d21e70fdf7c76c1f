//! The activation of BERT's pooler.
//!
//! It acts on a row for each text, so candle's ops do and there are no kernels.

#[cfg(test)]
mod tests;

use candle_core::Result;

use super::base::tape::{Traced, record};

/// Hyperbolic tangent, element by element.
///
/// Shapes: any -> the same. Dtypes: candle's float types.
/// Gradient: x; d_x = d_y (1 - y^2).
pub fn tanh(x: &Traced) -> Result<Traced> {
    let y = x.value().tanh()?;
    let (x, slope) = (x.place()?, y.sqr()?.affine(-1., 1.)?);
    Ok(record(y, x.is_tracked(), move |d_y, gradients| gradients.add(&x, (d_y.values() * slope)?)))
}
