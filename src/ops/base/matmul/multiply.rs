//! Products with the fastest kernel of this processor.

use std::marker::PhantomData;

use super::super::real::Real;
#[cfg(target_arch = "aarch64")]
use super::kernel::Neon;
use super::kernel::Portable;
#[cfg(target_arch = "x86_64")]
use super::kernel::{Avx2, Avx512};
use super::matrix::{Matrix, MatrixMut, Onto, Threads, Triangle};
use super::product::{Product, run};

/// A type whose products have kernels.
pub trait Multiply: Real {
    /// Computes a product with the fastest of them.
    fn multiply(product: &Product<Self>);
}

impl Multiply for f32 {
    fn multiply(product: &Product<Self>) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") {
            return run::<f32, Avx512>(product);
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return run::<f32, Avx2>(product);
        }
        #[cfg(target_arch = "aarch64")]
        return run::<f32, Neon>(product);
        #[cfg(not(target_arch = "aarch64"))]
        run::<f32, Portable<f32>>(product);
    }
}

impl Multiply for f64 {
    fn multiply(product: &Product<Self>) {
        run::<f64, Portable<f64>>(product);
    }
}

impl<T: Multiply> MatrixMut<'_, T> {
    /// self = onto + scale * a b.
    pub fn set_product(&mut self, onto: Onto<T>, scale: T, a: Matrix<T>, b: Matrix<T>, threads: Threads) {
        assert_eq!((self.rows, self.columns, a.columns), (a.rows, b.columns, b.rows), "matrix sizes");
        let base = match onto {
            Onto::Nothing => None,
            Onto::Row(row) => {
                assert_eq!(row.len(), self.columns, "length of the row");
                Some((row.as_ptr(), 0))
            }
            Onto::Itself => Some((self.start.cast_const(), self.row_stride)),
        };
        let c = (self.start, self.row_stride);
        T::multiply(&Product { c, triangle: self.triangle, base, scale, a, b, threads });
    }
}

/// Replaces what `c` holds by a b, with all threads.
pub fn set_product<T: Multiply>(c: &mut Vec<T>, a: Matrix<T>, b: Matrix<T>) {
    let (rows, columns) = (a.rows, b.columns);
    c.clear();
    c.reserve(rows * columns);
    let (start, triangle) = (c.as_mut_ptr(), Triangle::Whole);
    let mut matrix = MatrixMut { start, rows, columns, row_stride: columns, triangle, owner: PhantomData };
    matrix.set_product(Onto::Nothing, T::one(), a, b, Threads::All);
    // SAFETY: the product has set so many elements, for which there is room.
    unsafe { c.set_len(rows * columns) };
}
