//! Blocks of both factors in the order in which tiles read them: a strip of A for each tile's rows, one of B, a
//! panel, for each tile's columns.

use std::ops::Range;

use super::super::real::Real;
use super::kernel::{Kernel, VECTORS, prefetch};
use super::matrix::Matrix;

/// Elements of a line of the cache, which also lies between packed strips: they would otherwise all start at the same
/// place in it.
const LINE: usize = 16;
/// Steps from a prefetch of B to its copy.
const AHEAD: usize = 8;

/// Strips of a factor. They are good for as long as the factor or the [`Buffer`] they were packed into.
#[derive(Clone, Copy)]
pub struct Strips<T> {
    start: *const T,
    /// From one strip to the next.
    stride: usize,
    /// From one row of a strip of A to the next.
    pub row: usize,
    /// From one step of the depth to the next.
    pub step: usize,
}

impl<T: Real> Strips<T> {
    /// A block of A as it lies, from row `i` and step `k` on.
    pub fn in_place<K: Kernel<Element = T>>(a: Matrix<T>, i: usize, k: usize) -> Self {
        let (row, step) = (a.row_stride, a.column_stride);
        Self { start: a.element(i, k), stride: K::ROWS * row, row, step }
    }

    /// The first element of a strip that belongs to a step.
    pub fn at(&self, strip: usize, step: usize) -> *const T {
        self.start.wrapping_add(strip * self.stride + step * self.step)
    }
}

/// Memory to pack into, used again for each block.
pub struct Buffer<T> {
    data: Vec<T>,
}

impl<T> Buffer<T> {
    pub fn new() -> Self {
        Self { data: Vec::new() }
    }

    /// Room for strips of `depth` steps, with `step` elements each, that starts with a line of the cache.
    pub fn strips(&mut self, count: usize, depth: usize, step: usize) -> Strips<T> {
        let stride = depth * step + LINE;
        self.data.reserve_exact(count * stride + LINE);
        let start = self.data.as_mut_ptr();
        let start = start.wrapping_add(start.align_offset(64).min(LINE));
        Strips { start, stride, row: 1, step }
    }
}

/// Packs columns of B into their panels, the last of them filled up with zeros.
pub fn pack_b<T: Real, K: Kernel<Element = T>>(
    b: Matrix<T>,
    steps: Range<usize>,
    columns: Range<usize>,
    packed: Strips<T>,
) {
    let (depth, width) = (steps.len(), packed.step);
    for (panel, within) in panels(columns.len(), K::LANES).enumerate() {
        let (first, filled) = (columns.start + within.start, within.len());
        let from = |step: usize, column: usize| b.element(steps.start + step, first + column);
        let to = |step: usize, column: usize| packed.at(panel, step).cast_mut().wrapping_add(column);
        // Columns that are done in the first so many steps.
        let (done, done_steps) = if b.column_stride == 1 {
            for step in 0..depth {
                foresee(from(step + AHEAD, 0), filled);
                // SAFETY: `filled` neighbours in the matrix, and a step of the panel.
                unsafe { copy(from(step, 0), to(step, 0), filled) };
            }
            (filled, depth)
        } else {
            let (fours, whole_steps) = (filled - filled % 4, depth - depth % 4);
            // As many columns together as fill a line of the panel.
            for line in (0..fours).step_by(LINE) {
                for step in (0..whole_steps).step_by(4) {
                    for column in (line..fours.min(line + LINE)).step_by(4) {
                        // SAFETY: 4 x 4 elements lie in the matrix and in the panel.
                        unsafe {
                            K::transpose_4x4(from(step, column), b.column_stride, to(step, column), width)
                        };
                    }
                }
            }
            (fours, whole_steps)
        };
        if (done, done_steps) == (width, depth) {
            continue;
        }
        for step in 0..depth {
            for column in if step < done_steps { done } else { 0 }..width {
                // SAFETY: an element of the matrix, and one of the panel.
                unsafe {
                    let value = if column < filled { *from(step, column) } else { T::zero() };
                    to(step, column).write(value);
                }
            }
        }
    }
}

/// Columns divided into panels of up to `VECTORS` vectors, as even as they can be: narrow ones take longer.
pub fn panels(columns: usize, lanes: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    let vectors = columns.div_ceil(lanes);
    let count = vectors.div_ceil(VECTORS);
    (0..count).map(move |panel| {
        let start = |panel: usize| (panel * vectors).div_ceil(count) * lanes;
        start(panel)..start(panel + 1).min(columns)
    })
}

/// Copies neighbours, as many at once as a line of the cache has: too few each time for a call of memcpy.
///
/// # Safety
/// The pointers must be good for `len` elements, which do not overlap.
#[inline(always)]
unsafe fn copy<T: Copy>(from: *const T, to: *mut T, len: usize) {
    let whole = len - len % LINE;
    // SAFETY: by the caller's promise.
    unsafe {
        for i in (0..whole).step_by(LINE) {
            to.add(i).cast::<[T; LINE]>().write_unaligned(from.add(i).cast::<[T; LINE]>().read_unaligned());
        }
        for i in whole..len {
            to.add(i).write(*from.add(i));
        }
    }
}

/// Asks for the lines of the cache that hold `len` elements, wherever they lie.
#[inline(always)]
fn foresee<T>(from: *const T, len: usize) {
    for i in (0..len).step_by(LINE) {
        prefetch(from.wrapping_add(i));
    }
}
