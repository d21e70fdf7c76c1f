//! The element types of the CPU kernels, and what the kernels' inner loops are made of.
//!
//! Kernels are generic over [`Real`], so that the f64 instance of the very same code can be compared with
//! central differences. Half precision stays on the GPU.

use std::f64::consts::FRAC_1_SQRT_2;
use std::ops::Neg;

use candle_core::backend::BackendStorage;
use candle_core::cpu::erf::erfc_f64;
use candle_core::{CpuStorage, Result, WithDType, bail};

use super::exp::exp_f32;
use super::normal::cdf_f32;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// f32 or f64, with the functions that must become vector instructions.
pub trait Real: WithDType + Neg<Output = Self> + sealed::Sealed {
    /// e^self; vectorises for f32, libm for f64.
    fn exp(self) -> Self;
    /// The distribution function of the standard normal; vectorises for f32, libm for f64.
    fn normal_cdf(self) -> Self;
    /// Natural logarithm, libm.
    fn ln(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// self * a + b, rounded once.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// The elements of a storage of this type, to be changed in place.
    fn slice_mut(storage: &mut CpuStorage) -> Result<&mut [Self]>;
}

impl Real for f32 {
    #[inline(always)]
    fn exp(self) -> Self {
        exp_f32(self)
    }
    #[inline(always)]
    fn normal_cdf(self) -> Self {
        cdf_f32(self)
    }
    #[inline(always)]
    fn ln(self) -> Self {
        f32::ln(self)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f32::sqrt(self)
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        f32::mul_add(self, a, b)
    }
    fn slice_mut(storage: &mut CpuStorage) -> Result<&mut [Self]> {
        match storage {
            CpuStorage::F32(data) => Ok(data),
            other => bail!("expected a storage of f32, got {}", other.dtype().as_str()),
        }
    }
}

impl Real for f64 {
    #[inline(always)]
    fn exp(self) -> Self {
        f64::exp(self)
    }
    #[inline(always)]
    fn normal_cdf(self) -> Self {
        0.5 * erfc_f64(-self * FRAC_1_SQRT_2)
    }
    #[inline(always)]
    fn ln(self) -> Self {
        f64::ln(self)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        f64::mul_add(self, a, b)
    }
    fn slice_mut(storage: &mut CpuStorage) -> Result<&mut [Self]> {
        match storage {
            CpuStorage::F64(data) => Ok(data),
            other => bail!("expected a storage of f64, got {}", other.dtype().as_str()),
        }
    }
}

/// Partial results a reduction keeps: two vectors of the widest kind (AVX-512), four of AVX2. The number is
/// part of the summation order, so it is the same on every machine.
pub const LANES: usize = 32;

/// Sum over i of `term([inputs[0][i], inputs[1][i], ..])`, in an order fixed by the length alone.
#[inline(always)]
pub fn sum_of<T: Real, const N: usize>(inputs: [&[T]; N], term: impl Fn([T; N]) -> T) -> T {
    let len = inputs.first().map_or(0, |input| input.len());
    let whole = len - len % LANES;
    let bodies = inputs.map(|input| &input[..whole]);
    let tails = inputs.map(|input| &input[whole..len]);
    let mut sums = [T::zero(); LANES];
    for start in (0..whole).step_by(LANES) {
        let blocks = bodies.map(|body| &body[start..start + LANES]);
        for lane in 0..LANES {
            sums[lane] += term(blocks.map(|block| block[lane]));
        }
    }
    for lane in 0..len - whole {
        sums[lane] += term(tails.map(|tail| tail[lane]));
    }
    fold(sums, |a, b| a + b)
}

/// Largest element, negative infinity when there is none; NaN is passed over.
#[inline(always)]
pub fn max_of<T: Real>(input: &[T]) -> T {
    let larger = |a: T, b: T| if b > a { b } else { a };
    let mut largest = [T::from_f64(f64::NEG_INFINITY); LANES];
    let blocks = input.chunks_exact(LANES);
    for (lane, &value) in blocks.remainder().iter().enumerate() {
        largest[lane] = value;
    }
    for block in blocks {
        for lane in 0..LANES {
            largest[lane] = larger(largest[lane], block[lane]);
        }
    }
    fold(largest, larger)
}

/// Halves the lanes until one is left.
#[inline(always)]
fn fold<T: Real>(mut lanes: [T; LANES], join: impl Fn(T, T) -> T) -> T {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = join(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// Compiles a function for AVX-512, for AVX2 with FMA and for the plain target, and picks at run time.
/// What it calls must be `#[inline(always)]` to be compiled along.
macro_rules! vectorised {
    ($($function:item)*) => {$(
        #[multiversion::multiversion(targets(
            "x86_64+avx512f+avx512dq+avx512bw+avx512vl+avx2+fma",
            "x86_64+avx2+fma"
        ))]
        $function
    )*};
}
pub(crate) use vectorised;

/// Runs the body with `$T` as the Rust type of a dtype; other dtypes than f32 and f64 are an error.
macro_rules! by_dtype {
    ($op:expr, $dtype:expr, $T:ident => $body:expr) => {{
        #[allow(unused_imports)] // Not every body needs both.
        use candle_core::{WithDType as _, backend::BackendStorage as _};
        match $dtype {
            candle_core::DType::F32 => {
                type $T = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            other => {
                candle_core::bail!("{}: expected dtype f32 or f64 on the CPU, got {}", $op, other.as_str())
            }
        }
    }};
}
pub(crate) use by_dtype;

#[cfg(test)]
mod tests {
    use super::{LANES, max_of, sum_of};

    #[test]
    fn reductions_see_every_element_once() {
        for len in [0, 1, LANES - 1, LANES, LANES + 1, 5 * LANES + 7] {
            let x: Vec<f64> = (0..len).map(|i| i as f64 - 40.).collect();
            let y: Vec<f64> = x.iter().map(|v| 2. * v).collect();
            assert_eq!(sum_of([&x], |[v]| v), x.iter().sum::<f64>());
            assert_eq!(sum_of([&x, &y], |[v, w]| v * w), x.iter().map(|v| 2. * v * v).sum::<f64>());
            assert_eq!(max_of(&x), x.iter().copied().fold(f64::NEG_INFINITY, f64::max));
            let reversed: Vec<f64> = x.iter().rev().copied().collect();
            assert_eq!(max_of(&reversed), max_of(&x));
        }
    }
}
