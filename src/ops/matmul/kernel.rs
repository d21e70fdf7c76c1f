//! The innermost loops: a tile of C, a few rows high and up to three vectors wide, held in registers.
//!
//! A tile of 8 x 3 vectors fills AVX-512's 32 registers (24 sums, 3 of B, 1 of A), one of 4 x 3 AVX2's 16.
//! Each step reads the 3 vectors of B and one number of A per row, so arithmetic, not loading, is the limit.

use std::marker::PhantomData;

use super::super::real::Real;

/// Most rows of any kernel's tile.
pub const MAX_ROWS: usize = 8;
/// Vectors in the row of a tile.
pub const VECTORS: usize = 3;

/// One tile's work: C = base + scale A B over `depth` steps.
pub struct Tile<T> {
    pub depth: usize,
    /// Where each row of A starts. Rows past the last may repeat it.
    pub a: [*const T; MAX_ROWS],
    /// From one element of a row of A to the next.
    pub a_step: usize,
    /// Packed: `VECTORS` vectors per step, the unused ones of any value.
    pub b: *const T,
    /// Where each row of C starts.
    pub c: [*mut T; MAX_ROWS],
    /// Where each row starts that the product is added to; none for zero.
    pub base: Option<[*const T; MAX_ROWS]>,
    pub scale: T,
}

/// A way to compute tiles. The order of a sum is that of the depth, so every kernel that fuses multiplication
/// and addition gives the same bits.
pub trait Kernel {
    type Element: Real;
    /// Rows of a tile.
    const ROWS: usize;
    /// Elements of a vector.
    const LANES: usize;

    /// Computes `ROWS` rows of `vectors` whole vectors.
    ///
    /// # Safety
    /// The processor must have the kernel's instructions, and the tile's pointers must be good for what they
    /// are said to hold.
    unsafe fn tile(vectors: usize, tile: &Tile<Self::Element>);
}

#[cfg(target_arch = "x86_64")]
macro_rules! x86_kernel {
    ($kernel:ident, $features:literal, $rows:literal, $lanes:literal, $zero:ident, $load:ident, $store:ident,
     $splat:ident, $multiply:ident, $multiply_add:ident) => {
        pub struct $kernel;

        impl Kernel for $kernel {
            type Element = f32;
            const ROWS: usize = $rows;
            const LANES: usize = $lanes;

            unsafe fn tile(vectors: usize, tile: &Tile<f32>) {
                // SAFETY: by the caller's promise.
                unsafe {
                    match vectors {
                        1 => Self::run::<1>(tile),
                        2 => Self::run::<2>(tile),
                        _ => Self::run::<VECTORS>(tile),
                    }
                }
            }
        }

        impl $kernel {
            #[target_feature(enable = $features)]
            unsafe fn run<const N: usize>(tile: &Tile<f32>) {
                use std::arch::x86_64::{$load, $multiply, $multiply_add, $splat, $store, $zero};
                let mut sums = [[$zero(); N]; $rows];
                let (mut b, mut at) = (tile.b, 0);
                // SAFETY: by the caller of `tile`.
                unsafe {
                    for _ in 0..tile.depth {
                        let mut columns = [$zero(); N];
                        for (v, column) in columns.iter_mut().enumerate() {
                            *column = $load(b.add(v * $lanes));
                        }
                        for (sums, a) in sums.iter_mut().zip(&tile.a) {
                            let a = $splat(*a.add(at));
                            for (sum, column) in sums.iter_mut().zip(columns) {
                                *sum = $multiply_add(a, column, *sum);
                            }
                        }
                        at += tile.a_step;
                        b = b.add(VECTORS * $lanes);
                    }
                    let scale = $splat(tile.scale);
                    for (i, sums) in sums.iter().enumerate() {
                        for (v, &sum) in sums.iter().enumerate() {
                            let value = match &tile.base {
                                Some(base) => $multiply_add(scale, sum, $load(base[i].add(v * $lanes))),
                                None => $multiply(scale, sum),
                            };
                            $store(tile.c[i].add(v * $lanes), value);
                        }
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
x86_kernel!(
    Avx512,
    "avx512f",
    8,
    16,
    _mm512_setzero_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_set1_ps,
    _mm512_mul_ps,
    _mm512_fmadd_ps
);
#[cfg(target_arch = "x86_64")]
x86_kernel!(
    Avx2,
    "avx2,fma",
    4,
    8,
    _mm256_setzero_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_set1_ps,
    _mm256_mul_ps,
    _mm256_fmadd_ps
);

/// to[j * to_stride + i] = from[i * from_stride + j] for i and j below 8, as four 4 x 4 blocks.
///
/// # Safety
/// The pointers must be good for these elements.
#[cfg(target_arch = "x86_64")]
pub unsafe fn transpose_8x8(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    use std::arch::x86_64::{
        _mm_loadu_ps, _mm_movehl_ps, _mm_movelh_ps, _mm_storeu_ps, _mm_unpackhi_ps, _mm_unpacklo_ps,
    };
    for (i, j) in [(0, 0), (0, 4), (4, 0), (4, 4)] {
        // SAFETY: by the caller's promise; SSE is part of every x86-64.
        unsafe {
            let row = |row: usize| _mm_loadu_ps(from.add((i + row) * from_stride + j));
            let [a, b, c, d] = [row(0), row(1), row(2), row(3)];
            let (ab_low, ab_high) = (_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
            let (cd_low, cd_high) = (_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
            let columns = [
                _mm_movelh_ps(ab_low, cd_low),
                _mm_movehl_ps(cd_low, ab_low),
                _mm_movelh_ps(ab_high, cd_high),
                _mm_movehl_ps(cd_high, ab_high),
            ];
            for (column, values) in columns.into_iter().enumerate() {
                _mm_storeu_ps(to.add((j + column) * to_stride + i), values);
            }
        }
    }
}

/// Any type on any processor, as far as the compiler finds vectors by itself.
pub struct Portable<T>(PhantomData<T>);

impl<T: Real> Kernel for Portable<T> {
    type Element = T;
    const ROWS: usize = 4;
    const LANES: usize = 4;

    unsafe fn tile(vectors: usize, tile: &Tile<T>) {
        const WIDTH: usize = VECTORS * Portable::<f32>::LANES;
        let width = vectors * Self::LANES;
        let mut sums = [[T::zero(); WIDTH]; 4];
        for step in 0..tile.depth {
            // SAFETY: by the caller's promise; B is packed whole.
            let columns = unsafe { &*tile.b.add(step * WIDTH).cast::<[T; WIDTH]>() };
            for (sums, a) in sums.iter_mut().zip(&tile.a) {
                // SAFETY: by the caller's promise.
                let a = unsafe { *a.add(step * tile.a_step) };
                for (sum, &column) in sums.iter_mut().zip(columns) {
                    *sum = if cfg!(target_arch = "aarch64") {
                        a.mul_add(column, *sum)
                    } else {
                        *sum + a * column
                    };
                }
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            for (j, &sum) in sums[..width].iter().enumerate() {
                // SAFETY: by the caller's promise.
                unsafe {
                    let base = tile.base.map_or(T::zero(), |base| *base[i].add(j));
                    *tile.c[i].add(j) = base + tile.scale * sum;
                }
            }
        }
    }
}
