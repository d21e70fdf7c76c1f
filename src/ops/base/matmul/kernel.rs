//! The innermost loops: a tile of C, a few rows high and up to three vectors wide, held in registers.
//!
//! A tile of 8 x 3 vectors fills the 32 registers of AVX-512 and NEON (24 sums, 3 of B, 1 of A), one of 4 x 3 AVX2's 16.
//! Each step reads the 3 vectors of B and one number of A per row, so arithmetic, not loading, is the limit.

use std::marker::PhantomData;

use super::super::real::Real;

/// Vectors in the row of a tile.
pub const VECTORS: usize = 3;
/// Steps from a prefetch of A to its use.
const AHEAD: usize = 8;
/// Most elements in the row of any kernel's tile.
pub const MAX_WIDTH: usize = VECTORS * 16;
/// Most rows of any kernel's tile.
pub const MAX_ROWS: usize = 8;

/// One tile's work: C = base + scale A B over `depth` steps. Rows of each lie a stride apart.
pub struct Tile<T> {
    pub depth: usize,
    pub a: *const T,
    pub a_row: usize,
    /// From one element of a row of A to the next.
    pub a_step: usize,
    /// Packed, `VECTORS` vectors per step with any value in the unused ones, or as it lies.
    pub b: *const T,
    /// From one step of B to the next.
    pub b_step: usize,
    /// Where A, whose columns are contiguous, and B, both as they lie, are packed to on the way; for tiles of
    /// `Kernel::ROWS` rows alone.
    pub pack_a: Option<*mut T>,
    pub pack_b: Option<*mut T>,
    pub c: *mut T,
    pub c_row: usize,
    /// What the product is added to; none for zero.
    pub base: Option<(*const T, usize)>,
    pub scale: T,
}

/// A way to compute tiles. The order of a sum is that of the depth, so kernels that fuse multiplication and
/// addition all give the same bits.
pub trait Kernel {
    type Element: Real;
    /// Most rows of a tile.
    const ROWS: usize;
    /// Elements of a vector.
    const LANES: usize;

    /// Computes `rows` rows of `vectors` whole vectors.
    ///
    /// # Safety
    /// The processor must have the kernel's instructions, and the tile's pointers must be good for what they
    /// are said to hold.
    unsafe fn tile(rows: usize, vectors: usize, tile: &Tile<Self::Element>);

    /// to[j * to_stride + i] = from[i * from_stride + j] for i and j below 4.
    ///
    /// # Safety
    /// The pointers must be good for these elements.
    unsafe fn transpose_4x4(
        from: *const Self::Element,
        from_stride: usize,
        to: *mut Self::Element,
        to_stride: usize,
    ) {
        for i in 0..4 {
            for j in 0..4 {
                // SAFETY: by the caller's promise.
                unsafe { *to.add(j * to_stride + i) = *from.add(i * from_stride + j) };
            }
        }
    }
}

/// A kernel of f32 from a processor's instructions, given by module and name.
macro_rules! simd_kernel {
    ($kernel:ident, $features:literal, $rows:literal, [$($fewer:literal)*], $lanes:literal, $($module:ident)::+, $zero:ident,
     $load:ident, $store:ident, $splat:ident, $multiply:ident, $multiply_add:ident) => {
        pub struct $kernel;

        impl Kernel for $kernel {
            type Element = f32;
            const ROWS: usize = $rows;
            const LANES: usize = $lanes;

            unsafe fn tile(rows: usize, vectors: usize, tile: &Tile<f32>) {
                // SAFETY: by the caller's promise.
                unsafe {
                    match (rows, vectors, tile.pack_a.is_some() || tile.pack_b.is_some()) {
                        $(($fewer, 1, _) => Self::run::<$fewer, 1, false>(tile),
                        ($fewer, 2, _) => Self::run::<$fewer, 2, false>(tile),
                        ($fewer, _, _) => Self::run::<$fewer, VECTORS, false>(tile),)*
                        (_, 1, false) => Self::run::<$rows, 1, false>(tile),
                        (_, 2, false) => Self::run::<$rows, 2, false>(tile),
                        (_, _, false) => Self::run::<$rows, VECTORS, false>(tile),
                        (_, 1, true) => Self::run::<$rows, 1, true>(tile),
                        (_, 2, true) => Self::run::<$rows, 2, true>(tile),
                        (_, _, true) => Self::run::<$rows, VECTORS, true>(tile),
                    }
                }
            }

            #[cfg(target_arch = "x86_64")]
            unsafe fn transpose_4x4(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
                // SAFETY: by the caller's promise; SSE is part of every x86-64.
                unsafe { transpose_4x4(from, from_stride, to, to_stride) };
            }
        }

        impl $kernel {
            #[target_feature(enable = $features)]
            unsafe fn run<const ROWS: usize, const N: usize, const PACK: bool>(tile: &Tile<f32>) {
                use $($module)::+::{$load, $multiply, $multiply_add, $splat, $store, $zero};
                let mut sums = [[$zero(); N]; ROWS];
                let (mut a, mut b) = (tile.a, tile.b);
                let (mut pack_a, mut pack_b) = (tile.pack_a, tile.pack_b);
                // C is needed at the end, when reading it would take as long as dozens of steps.
                for i in 0..ROWS {
                    (0..N).for_each(|v| prefetch(tile.c.wrapping_add(i * tile.c_row + v * $lanes)));
                }
                // SAFETY: by the caller of `tile`.
                unsafe {
                    for _ in 0..tile.depth {
                        let columns: [_; N] = std::array::from_fn(|v| $load(b.add(v * $lanes)));
                        if PACK {
                            if let Some(packed) = &mut pack_a {
                                let column = a.cast::<[f32; ROWS]>().read_unaligned();
                                packed.cast::<[f32; ROWS]>().write_unaligned(column);
                                *packed = packed.add(ROWS);
                            }
                            if let Some(packed) = &mut pack_b {
                                for (v, &column) in columns.iter().enumerate() {
                                    $store(packed.add(v * $lanes), column);
                                    prefetch(b.wrapping_add(AHEAD * tile.b_step + v * $lanes));
                                }
                                *packed = packed.add(VECTORS * $lanes);
                            }
                        }
                        for (i, sums) in sums.iter_mut().enumerate() {
                            let a = $splat(*a.add(i * tile.a_row));
                            for (sum, column) in sums.iter_mut().zip(columns) {
                                *sum = $multiply_add(a, column, *sum);
                            }
                        }
                        // A step of a transposed A is a cache line of its own, which no processor foresees.
                        prefetch(a.wrapping_add(AHEAD * tile.a_step));
                        a = a.wrapping_add(tile.a_step);
                        b = b.wrapping_add(tile.b_step);
                    }
                    let scale = $splat(tile.scale);
                    for (i, sums) in sums.iter().enumerate() {
                        for (v, &sum) in sums.iter().enumerate() {
                            let value = match tile.base {
                                Some((base, row)) => {
                                    $multiply_add(scale, sum, $load(base.add(i * row + v * $lanes)))
                                }
                                None => $multiply(scale, sum),
                            };
                            $store(tile.c.add(i * tile.c_row + v * $lanes), value);
                        }
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
simd_kernel!(
    Avx512, "avx512f", 8, [1 2 3 4 5 6 7], 16, std::arch::x86_64, _mm512_setzero_ps, _mm512_loadu_ps, _mm512_storeu_ps,
    _mm512_set1_ps, _mm512_mul_ps, _mm512_fmadd_ps
);
#[cfg(target_arch = "x86_64")]
simd_kernel!(
    Avx2, "avx2,fma", 4, [1 2 3], 8, std::arch::x86_64, _mm256_setzero_ps, _mm256_loadu_ps, _mm256_storeu_ps,
    _mm256_set1_ps, _mm256_mul_ps, _mm256_fmadd_ps
);
#[cfg(target_arch = "aarch64")]
simd_kernel!(
    Neon, "neon", 8, [1 2 3 4 5 6 7], 4, neon, zero, vld1q_f32, vst1q_f32, vdupq_n_f32, vmulq_f32, multiply_add
);

/// Instructions of ARM under the conventions of x86.
#[cfg(target_arch = "aarch64")]
mod neon {
    pub use std::arch::aarch64::{float32x4_t, vdupq_n_f32, vfmaq_f32, vld1q_f32, vmulq_f32, vst1q_f32};

    #[target_feature(enable = "neon")]
    pub fn zero() -> float32x4_t {
        vdupq_n_f32(0.)
    }

    #[target_feature(enable = "neon")]
    pub fn multiply_add(a: float32x4_t, b: float32x4_t, sum: float32x4_t) -> float32x4_t {
        vfmaq_f32(sum, a, b)
    }
}

/// Asks for the cache line at an address, which may lie anywhere.
#[inline(always)]
pub fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of every x86-64, and a prefetch never faults.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// As [`Kernel::transpose_4x4`].
///
/// # Safety
/// As there.
#[cfg(target_arch = "x86_64")]
unsafe fn transpose_4x4(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    use std::arch::x86_64::{
        _mm_loadu_ps, _mm_movehl_ps, _mm_movelh_ps, _mm_storeu_ps, _mm_unpackhi_ps, _mm_unpacklo_ps,
    };
    // SAFETY: by the caller's promise; SSE is part of every x86-64.
    unsafe {
        let (a, b) = (_mm_loadu_ps(from), _mm_loadu_ps(from.add(from_stride)));
        let (c, d) = (_mm_loadu_ps(from.add(2 * from_stride)), _mm_loadu_ps(from.add(3 * from_stride)));
        let (ab_low, ab_high) = (_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
        let (cd_low, cd_high) = (_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
        let columns = [
            _mm_movelh_ps(ab_low, cd_low),
            _mm_movehl_ps(cd_low, ab_low),
            _mm_movelh_ps(ab_high, cd_high),
            _mm_movehl_ps(cd_high, ab_high),
        ];
        for (column, values) in columns.into_iter().enumerate() {
            _mm_storeu_ps(to.add(column * to_stride), values);
        }
    }
}

/// Any type on any processor, as far as the compiler finds vectors by itself.
pub struct Portable<T>(PhantomData<T>);

/// Rows and lanes of the portable kernel.
const PORTABLE: usize = 4;

impl<T: Real> Kernel for Portable<T> {
    type Element = T;
    const ROWS: usize = PORTABLE;
    const LANES: usize = PORTABLE;

    unsafe fn tile(rows: usize, vectors: usize, tile: &Tile<T>) {
        const WIDTH: usize = VECTORS * PORTABLE;
        for step in 0..tile.depth {
            // SAFETY: by the caller's promise.
            unsafe {
                if let Some(packed) = tile.pack_a {
                    let column = tile.a.add(step * tile.a_step);
                    column.copy_to_nonoverlapping(packed.add(step * PORTABLE), PORTABLE);
                }
                if let Some(packed) = tile.pack_b {
                    let line = tile.b.add(step * tile.b_step);
                    line.copy_to_nonoverlapping(packed.add(step * WIDTH), vectors * PORTABLE);
                }
            }
        }
        let b = tile.pack_b.map_or(tile.b, <*mut T>::cast_const);
        let mut sums = [[T::zero(); WIDTH]; PORTABLE];
        for step in 0..tile.depth {
            // SAFETY: by the caller's promise; B is packed whole.
            let columns = unsafe { &*b.add(step * WIDTH).cast::<[T; WIDTH]>() };
            for (i, sums) in sums[..rows].iter_mut().enumerate() {
                // SAFETY: by the caller's promise.
                let a = unsafe { *tile.a.add(i * tile.a_row + step * tile.a_step) };
                for (sum, &column) in sums.iter_mut().zip(columns) {
                    // Without the instruction, a fused operation is a slow call.
                    let fused = cfg!(target_arch = "aarch64");
                    *sum = if fused { a.mul_add(column, *sum) } else { *sum + a * column };
                }
            }
        }
        for (i, sums) in sums[..rows].iter().enumerate() {
            for (j, &sum) in sums[..vectors * PORTABLE].iter().enumerate() {
                // SAFETY: by the caller's promise.
                unsafe {
                    let base = tile.base.map_or(T::zero(), |(base, row)| *base.add(i * row + j));
                    *tile.c.add(i * tile.c_row + j) = base + tile.scale * sum;
                }
            }
        }
    }
}
