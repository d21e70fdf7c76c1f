//! Walks a product in blocks: B is packed into panels of a tile's width that stay in the cache, A is read as
//! it lies, or packed where its rows are not contiguous.
//!
//! Source of the scheme: Goto and van de Geijn 2008, "Anatomy of High-Performance Matrix Multiplication".

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::super::real::Real;
use super::kernel::{Kernel, MAX_ROWS, Tile, VECTORS};
use super::{Matrix, Threads};

/// Depth of a block: a panel of B (48 KiB with AVX-512) and the rows of A of a tile lie in the nearest caches.
const DEPTH: usize = 256;
/// Rows of A that are packed at once: 128 KiB of f32, which stays in the second cache.
const PACKED_ROWS: usize = 128;
/// Largest part of C that one task computes; its block of B takes 768 KiB of f32.
const TASK_ROWS: usize = 512;
const TASK_COLUMNS: usize = 768;
/// Below so many multiplications, some 20 us, a product is not divided.
const MIN_PARALLEL: usize = 1 << 20;
/// A transposed A of up to so many elements lies in the cache, and is read as it is.
const UNPACKED_LEN: usize = 32 * 1024;

/// C = base + scale A B. Rows of C and of the base lie at pointer + row * stride.
pub struct Product<'a, T> {
    pub c: (*mut T, usize),
    pub base: Option<(*const T, usize)>,
    pub scale: T,
    pub a: Matrix<'a, T>,
    pub b: Matrix<'a, T>,
    pub threads: Threads,
}

// SAFETY: tasks write disjoint parts of C, and read of the base only those parts or a row nobody writes.
unsafe impl<T: Sync> Sync for Product<'_, T> {}

/// Computes a product with one kind of kernel, which the processor must be able to run.
pub fn run<T: Real, K: Kernel<Element = T>>(product: &Product<T>) {
    let (rows, columns, depth) = (product.a.rows, product.b.columns, product.a.columns);
    if rows == 0 || columns == 0 {
        return;
    }
    let serial = product.threads == Threads::One || rows * columns * depth < MIN_PARALLEL;
    let least_tasks = if serial { 1 } else { 2 * rayon::current_num_threads() };
    let (task_rows, task_columns) = task_size(rows, columns, least_tasks, K::ROWS, VECTORS * K::LANES);
    let down = rows.div_ceil(task_rows);
    let task = |index: usize| {
        let (i, j) = (index % down * task_rows, index / down * task_columns);
        let part = Part { i, rows: task_rows.min(rows - i), j, columns: task_columns.min(columns - j) };
        part.compute::<T, K>(product);
    };
    let tasks = down * columns.div_ceil(task_columns);
    if serial || tasks == 1 { (0..tasks).for_each(task) } else { (0..tasks).into_par_iter().for_each(task) }
}

/// Rows and columns of a task: as square as the tiles allow, since each task packs its own operands.
fn task_size(
    rows: usize,
    columns: usize,
    least_tasks: usize,
    tile_rows: usize,
    width: usize,
) -> (usize, usize) {
    let (mut down, mut across) = (rows.div_ceil(TASK_ROWS), columns.div_ceil(TASK_COLUMNS));
    let size = |len: usize, parts: usize, unit: usize| len.div_ceil(parts).next_multiple_of(unit);
    while down * across < least_tasks {
        let (task_rows, task_columns) = (size(rows, down, tile_rows), size(columns, across, width));
        if task_rows >= task_columns && task_rows > tile_rows {
            down += 1;
        } else if task_columns > width {
            across += 1;
        } else {
            break;
        }
    }
    (size(rows, down, tile_rows), size(columns, across, width))
}

/// The part of C that one task computes.
struct Part {
    i: usize,
    rows: usize,
    j: usize,
    columns: usize,
}

impl Part {
    fn compute<T: Real, K: Kernel<Element = T>>(&self, product: &Product<T>) {
        let &Product { a, b, .. } = product;
        let width = VECTORS * K::LANES;
        let depth = a.columns.min(DEPTH);
        let pack_a = a.column_stride != 1 && self.rows * depth > UNPACKED_LEN;
        let mut packed_b = Buffer::new(depth * self.columns.next_multiple_of(width));
        let mut packed_a = Buffer::new(if pack_a { depth * PACKED_ROWS } else { 0 });
        let mut base = product.base;
        // A product of depth 0 still sets C.
        for k in (0..a.columns.max(1)).step_by(DEPTH) {
            let depth = DEPTH.min(a.columns - k);
            pack(b.transposed(), self.j, self.columns, k, depth, width, &mut packed_b);
            for i in (self.i..self.i + self.rows).step_by(PACKED_ROWS) {
                let rows = PACKED_ROWS.min(self.i + self.rows - i);
                let block = if pack_a {
                    pack(a, i, rows, k, depth, K::ROWS, &mut packed_a);
                    RowsOfA {
                        start: packed_a.start(),
                        tile_stride: depth * K::ROWS,
                        row_stride: 1,
                        step: K::ROWS,
                    }
                } else {
                    RowsOfA {
                        // SAFETY: the element (i, k) lies in the matrix, or ends it where the depth is 0.
                        start: unsafe { a.start.add(i * a.row_stride + k * a.column_stride) },
                        tile_stride: K::ROWS * a.row_stride,
                        row_stride: a.row_stride,
                        step: a.column_stride,
                    }
                };
                let part = Part { i, rows, ..*self };
                part.tiles::<T, K>(product, base, depth, &block, packed_b.start());
            }
            base = Some((product.c.0.cast_const(), product.c.1));
        }
    }

    /// All tiles of a block of rows and a block of depth.
    fn tiles<T: Real, K: Kernel<Element = T>>(
        &self,
        product: &Product<T>,
        base: Option<(*const T, usize)>,
        depth: usize,
        a: &RowsOfA<T>,
        b: *const T,
    ) {
        let width = VECTORS * K::LANES;
        let mut spill = [[T::zero(); VECTORS * 16]; MAX_ROWS];
        let (c, c_stride) = product.c;
        for j in (0..self.columns).step_by(width) {
            let columns = width.min(self.columns - j);
            for i in (0..self.rows).step_by(K::ROWS) {
                let rows = K::ROWS.min(self.rows - i);
                // SAFETY: all within the matrices, since the last row stands in for rows past it; a tile that
                // is not whole is computed beside C and copied.
                unsafe {
                    let place = (self.i + i, self.j + j);
                    let c = c.add(place.0 * c_stride + place.1);
                    let base = base.map(|(start, stride)| (start.add(place.0 * stride + place.1), stride));
                    let a_start = a.start.add(i / K::ROWS * a.tile_stride);
                    let whole = rows == K::ROWS && columns.is_multiple_of(K::LANES);
                    let mut tile = Tile {
                        depth,
                        a: std::array::from_fn(|row| a_start.add(row.min(rows - 1) * a.row_stride)),
                        a_step: a.step,
                        b: b.add(j * depth),
                        c: std::array::from_fn(|row| c.wrapping_add(row * c_stride)),
                        base: base.map(|(start, stride)| {
                            std::array::from_fn(|row| start.wrapping_add(row * stride))
                        }),
                        scale: product.scale,
                    };
                    if whole {
                        K::tile(columns / K::LANES, &tile);
                        continue;
                    }
                    tile.c = spill.each_mut().map(|row| row.as_mut_ptr());
                    tile.base = None;
                    K::tile(columns.div_ceil(K::LANES), &tile);
                    for (row, spill) in spill[..rows].iter().enumerate() {
                        for (column, &value) in spill[..columns].iter().enumerate() {
                            let base = base.map(|(start, stride)| *start.add(row * stride + column));
                            *c.add(row * c_stride + column) = base.unwrap_or(T::zero()) + value;
                        }
                    }
                }
            }
        }
    }
}

/// Where the rows of A of a block lie: tiles of rows, rows of elements.
struct RowsOfA<T> {
    start: *const T,
    tile_stride: usize,
    row_stride: usize,
    step: usize,
}

/// Memory that is written before it is read.
struct Buffer<T>(Vec<MaybeUninit<T>>);

impl<T> Buffer<T> {
    fn new(len: usize) -> Self {
        let mut data = Vec::with_capacity(len);
        // SAFETY: the capacity is `len`, and MaybeUninit needs no initial value.
        unsafe { data.set_len(len) };
        Self(data)
    }

    fn start(&self) -> *const T {
        self.0.as_ptr().cast()
    }
}

/// Copies `rows` rows of `x` from row `i`, elements `k..k + depth`, into panels of `width` rows in which the
/// rows' elements of one k stand side by side; the last panel is filled up with zeros.
fn pack<T: Real>(
    x: Matrix<T>,
    i: usize,
    rows: usize,
    k: usize,
    depth: usize,
    width: usize,
    out: &mut Buffer<T>,
) {
    for (first, panel) in (0..rows).step_by(width).zip(out.0.chunks_exact_mut((depth * width).max(1))) {
        let filled = width.min(rows - first);
        // SAFETY: the rows and elements lie in the matrix.
        let from = |row: usize, step: usize| unsafe {
            x.start.add((i + first + row) * x.row_stride + (k + step) * x.column_stride)
        };
        if x.row_stride == 1 {
            for (step, line) in panel.chunks_exact_mut(width).enumerate() {
                // SAFETY: `filled` neighbours, which lie in the matrix; MaybeUninit<T> has the layout of T.
                let source = unsafe { std::slice::from_raw_parts(from(0, step).cast(), filled) };
                line[..filled].copy_from_slice(source);
            }
        } else {
            let whole = (filled - filled % 8, depth - depth % 8);
            for row in (0..whole.0).step_by(8) {
                for step in (0..whole.1).step_by(8) {
                    // SAFETY: 8 rows of 8 elements lie in the matrix and in the panel.
                    unsafe {
                        let to = panel.as_mut_ptr().add(step * width + row).cast();
                        T::transpose_8x8(from(row, step), x.row_stride, to, width);
                    }
                }
            }
            for row in 0..filled {
                let done = if row < whole.0 { whole.1 } else { 0 };
                for step in done..depth {
                    // SAFETY: one element of the matrix.
                    panel[step * width + row].write(unsafe { *from(row, step) });
                }
            }
        }
        if filled < width {
            panel.chunks_exact_mut(width).for_each(|line| line[filled..].fill(MaybeUninit::new(T::zero())));
        }
    }
}
