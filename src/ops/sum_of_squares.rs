//! The sum of squares of a tensor, for the norm of the gradient.

use candle_core::{DType, Device, Result, Tensor};
use rayon::prelude::*;

use super::base::elements::Elements;
use super::base::real::{by_dtype, sum_of, vectorised};
use super::base::rows::CHUNK;

const NAME: &str = "sum_of_squares";

/// The sum of the squares of all elements, in f64; not finite as soon as one is not.
///
/// Chunks are summed in the tensor's type, their sums in f64 and in order. Any shape and, off the CPU, any
/// float dtype.
fn sum_of_squares(x: &Tensor) -> Result<f64> {
    if !x.device().is_cpu() {
        return Ok(f64::from(x.to_dtype(DType::F32)?.sqr()?.sum_all()?.to_scalar::<f32>()?));
    }
    let x = x.contiguous()?;
    by_dtype!(NAME, x.dtype(), T => {
        let x = Elements::<T>::of(NAME, &x)?;
        let sums: Vec<f64> = x.par_chunks(CHUNK).map(|chunk| squares(chunk).to_f64()).collect();
        Ok(sums.into_iter().sum())
    })
}

/// The L2 norm over all elements of all gradients, an f64 scalar on their device; not finite as soon as one
/// element is not.
pub fn global_norm(gradients: &[&Tensor]) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if !gradients.is_empty()
        && gradients.iter().all(|x| super::base::cuda::runs(x) && x.dtype() == DType::F32)
    {
        let contiguous = gradients.iter().map(|x| x.contiguous()).collect::<Result<Vec<_>>>()?;
        return super::adamw::cuda::norm(&contiguous.iter().collect::<Vec<_>>());
    }
    let mut squares = 0.;
    for gradient in gradients {
        squares += sum_of_squares(gradient)?;
    }
    Tensor::new(squares.sqrt(), gradients.first().map_or(&Device::Cpu, |gradient| gradient.device()))
}

vectorised! {
    fn squares<T: super::base::real::Real>(x: &[T]) -> T {
        sum_of([x], |[x]| x * x)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::super::base::testing::{flat, seeded};
    use super::{CHUNK, sum_of_squares};

    #[test]
    fn every_element_counts_once() {
        for len in [0, 1, 100, CHUNK + 1, 3 * CHUNK] {
            let x = seeded("x", &[len]);
            let expected: f64 = flat(&x).iter().map(|x| x * x).sum();
            for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-5)] {
                let found = sum_of_squares(&x.to_dtype(dtype).unwrap()).unwrap();
                assert!((found - expected).abs() <= tolerance * expected, "{len}: {found}, not {expected}");
            }
        }
    }

    #[test]
    fn one_number_that_is_not_finite_shows() {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut values = vec![1f32; 2 * CHUNK];
            values[CHUNK + 3] = bad;
            let x = Tensor::from_vec(values, 2 * CHUNK, &Device::Cpu).unwrap();
            assert!(!sum_of_squares(&x).unwrap().is_finite());
        }
    }
}
