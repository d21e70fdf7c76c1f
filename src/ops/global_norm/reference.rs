//! The sum of squares in candle's own ops, in f32 where the gradient is of halves.

use candle_core::{DType, Result, Tensor};

/// The sum of the squares of all elements.
pub fn sum_of_squares(x: &Tensor) -> Result<f64> {
    let x = if x.dtype().size_in_bytes() < 4 { x.to_dtype(DType::F32)? } else { x.clone() };
    x.sqr()?.sum_all()?.to_dtype(DType::F64)?.to_scalar()
}
