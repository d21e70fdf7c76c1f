//! Vectors end to end: the biases of maps that run as one product.
//!
//! One of candle's copies forward and views of the gradient backward, so there are neither kernels nor a reference.

#[cfg(test)]
mod tests;

use candle_core::{Result, Tensor};

use super::base::elements::expect_like;
use super::base::tape::{Traced, record};

const NAME: &str = "concat";

/// The parts one after another.
///
/// Shapes: (O_i) each -> (O) with O the sum of all O_i. Dtypes: candle's float types.
/// Gradient: every part.
/// Errors: no part; not a vector; dtype or device mismatch.
pub fn concat(parts: &[Traced]) -> Result<Traced> {
    let Some(first) = parts.first() else { candle_core::bail!("{NAME}: expected at least one part") };
    let mut lengths = Vec::with_capacity(parts.len());
    for part in parts {
        expect_like(NAME, "part", part.value(), first.value())?;
        lengths.push(part.value().dims1()?);
    }
    let values: Vec<&Tensor> = parts.iter().map(Traced::value).collect();
    let y = Tensor::cat(&values, 0)?;
    let places = parts.iter().map(Traced::place).collect::<Result<Vec<_>>>()?;
    Ok(record(y, parts.iter().any(Traced::is_tracked), move |d_y, gradients| {
        let mut start = 0;
        for (part, length) in places.iter().zip(&lengths) {
            gradients.add(part, d_y.values().narrow(0, start, *length)?)?;
            start += length;
        }
        Ok(())
    }))
}
