//! Walks a product in blocks: B is packed into panels of a tile's width that stay in the cache, A is read as
//! it lies, since a step takes no more than one cache line of each of its rows.
//!
//! Source of the scheme: Goto and van de Geijn 2008, "Anatomy of High-Performance Matrix Multiplication".

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::super::real::Real;
use super::kernel::{Kernel, MAX_ROWS, MAX_WIDTH, Tile, VECTORS};
use super::{Matrix, Threads};

/// Depth of a block: a panel of B, 48 KiB with AVX-512, stays in the second cache beside a block of A.
const DEPTH: usize = 256;
/// Rows of a block of A, 128 KiB of f32.
const BLOCK_ROWS: usize = 128;
/// Most columns of a task, whose block of B takes 768 KiB of f32.
const TASK_COLUMNS: usize = 768;
/// Below so many multiplications, some 20 us, a product is not divided.
const MIN_PARALLEL: usize = 1 << 20;
/// Time to pack an element of B, in multiplications.
const PACKING: usize = 8;
/// Time to read an element of A for one panel of B, in multiplications.
const READING: usize = 8;

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
    let threads = if serial { 1 } else { rayon::current_num_threads() };
    let (task_rows, task_columns) = task_size(rows, columns, threads, K::ROWS, K::LANES);
    let down = rows.div_ceil(task_rows);
    let task = |index: usize| {
        let (i, j) = (index % down * task_rows, index / down * task_columns);
        let part = Part { i, rows: task_rows.min(rows - i), j, columns: task_columns.min(columns - j) };
        part.compute::<T, K>(product);
    };
    let tasks = down * columns.div_ceil(task_columns);
    if threads == 1 { (0..tasks).for_each(task) } else { (0..tasks).into_par_iter().for_each(task) }
}

/// Rows and columns of a task, of all divisions the one that should be done first. Each task packs its own B.
fn task_size(rows: usize, columns: usize, threads: usize, tile_rows: usize, lanes: usize) -> (usize, usize) {
    let least_across = columns.div_ceil(TASK_COLUMNS);
    let size = |len: usize, parts: usize, unit: usize| len.div_ceil(parts).next_multiple_of(unit);
    if threads == 1 {
        return (rows, size(columns, least_across, VECTORS * lanes));
    }
    let divisions = [1, 2, 4].into_iter().flat_map(|rounds| {
        let tasks = rounds * threads;
        (1..=tasks).map(move |down| (down, tasks.div_ceil(down).max(least_across)))
    });
    let sizes = divisions.map(|(down, across)| (size(rows, down, tile_rows), size(columns, across, lanes)));
    let time = |&(task_rows, task_columns): &(usize, usize)| {
        let tasks = rows.div_ceil(task_rows) * columns.div_ceil(task_columns);
        let rounds = tasks.div_ceil(threads);
        let multiplying = task_rows * (task_columns + READING * panels(task_columns, lanes).count());
        // A thread that is disturbed costs up to one task: the more tasks, the less.
        (rounds * (multiplying + PACKING * task_columns)) as f64 * (1. + 0.1 / rounds as f64)
    };
    sizes.min_by(|a, b| time(a).total_cmp(&time(b))).unwrap_or((rows, columns))
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
        let mut packed: Vec<T> = Vec::new();
        packed.reserve_exact(a.columns.min(DEPTH) * panels(self.columns, K::LANES).count() * width);
        let mut base = product.base;
        // A product of depth 0 still sets C.
        for k in (0..a.columns.max(1)).step_by(DEPTH) {
            let depth = DEPTH.min(a.columns - k);
            let b = pack(b, k, depth, (self.j, self.columns), K::LANES, packed.spare_capacity_mut());
            for i in (self.i..self.i + self.rows).step_by(BLOCK_ROWS) {
                let rows = BLOCK_ROWS.min(self.i + self.rows - i);
                let block = Part { i, rows, ..*self };
                block.tiles::<T, K>(product, base, k, depth, b);
            }
            base = Some((product.c.0.cast_const(), product.c.1));
        }
    }

    /// All tiles of a block over `depth` steps from `k`.
    fn tiles<T: Real, K: Kernel<Element = T>>(
        &self,
        product: &Product<T>,
        base: Option<(*const T, usize)>,
        k: usize,
        depth: usize,
        b: *const T,
    ) {
        let (a, (c, c_row)) = (&product.a, product.c);
        let width = VECTORS * K::LANES;
        for (panel, columns) in panels(self.columns, K::LANES).enumerate() {
            let (j, columns) = (self.j + columns.start, columns.len());
            for i in (self.i..self.i + self.rows).step_by(K::ROWS) {
                let rows = K::ROWS.min(self.i + self.rows - i);
                // SAFETY: the tile lies within the matrices; the panels of B before it take `depth` elements
                // for each of their columns.
                unsafe {
                    let mut tile = Tile {
                        depth,
                        a: a.start.add(i * a.row_stride + k * a.column_stride),
                        a_row: a.row_stride,
                        a_step: a.column_stride,
                        b: b.add(panel * width * depth),
                        c: c.add(i * c_row + j),
                        c_row,
                        base: base.map(|(start, row)| (start.add(i * row + j), row)),
                        scale: product.scale,
                    };
                    if columns.is_multiple_of(K::LANES) {
                        K::tile(rows, columns / K::LANES, &tile);
                    } else {
                        ragged_tile::<T, K>(rows, columns, &mut tile);
                    }
                }
            }
        }
    }
}

/// A tile whose last vector reaches past the columns of C: computed beside it, then copied.
///
/// # Safety
/// As [`Kernel::tile`], for `rows` x `columns` elements of C and the base.
unsafe fn ragged_tile<T: Real, K: Kernel<Element = T>>(rows: usize, columns: usize, tile: &mut Tile<T>) {
    let mut beside = [[T::zero(); MAX_WIDTH]; MAX_ROWS];
    let (c, c_row) = (tile.c, tile.c_row);
    let base = tile.base.take();
    (tile.c, tile.c_row) = (beside.as_mut_ptr().cast(), MAX_WIDTH);
    // SAFETY: by the caller's promise, and `beside` holds a whole tile.
    unsafe {
        K::tile(rows, columns.div_ceil(K::LANES), tile);
        for (i, beside) in beside[..rows].iter().enumerate() {
            for (j, &value) in beside[..columns].iter().enumerate() {
                let base = base.map_or(T::zero(), |(base, row)| *base.add(i * row + j));
                *c.add(i * c_row + j) = base + value;
            }
        }
    }
}

/// Columns divided into panels of up to `VECTORS` vectors, as even as they can be: narrow ones take longer.
fn panels(columns: usize, lanes: usize) -> impl Iterator<Item = Range<usize>> {
    let vectors = columns.div_ceil(lanes);
    let count = vectors.div_ceil(VECTORS);
    (0..count).map(move |panel| {
        let start = |panel: usize| (panel * vectors).div_ceil(count) * lanes;
        start(panel)..start(panel + 1).min(columns)
    })
}

/// Copies rows `k..k + depth` of `columns` columns from `j` of `b` into panels, each a line of `VECTORS` vectors
/// per row, filled up with zeros. Returns where they start.
fn pack<T: Real>(
    b: Matrix<T>,
    k: usize,
    depth: usize,
    (j, columns): (usize, usize),
    lanes: usize,
    out: &mut [MaybeUninit<T>],
) -> *const T {
    let start = out.as_ptr().cast();
    let width = VECTORS * lanes;
    for (columns, panel) in panels(columns, lanes).zip(out.chunks_exact_mut((depth * width).max(1))) {
        let (first, filled) = (columns.start, columns.len());
        let from = |row: usize, column: usize| {
            b.start.wrapping_add((k + row) * b.row_stride + (j + first + column) * b.column_stride)
        };
        // Columns that are packed in the first so many rows.
        let (packed, packed_rows) = if b.column_stride == 1 {
            for (row, line) in panel.chunks_exact_mut(width).enumerate() {
                // SAFETY: `filled` neighbours in the matrix; MaybeUninit<T> has the layout of T.
                let source = unsafe { std::slice::from_raw_parts(from(row, 0).cast(), filled) };
                let (lines, rest) = line[..filled].as_chunks_mut::<4>();
                let (sources, source_rest) = <[MaybeUninit<T>]>::as_chunks::<4>(source);
                lines.iter_mut().zip(sources).for_each(|(line, source)| *line = *source);
                rest.copy_from_slice(source_rest);
            }
            (filled, depth)
        } else {
            let (fours, whole_rows) = (filled - filled % 4, depth - depth % 4);
            for column in (0..fours).step_by(4) {
                for row in (0..whole_rows).step_by(4) {
                    // SAFETY: 4 x 4 elements lie in the matrix and in the panel.
                    unsafe {
                        let to = panel.as_mut_ptr().add(row * width + column).cast();
                        T::transpose_4x4(from(row, column), b.column_stride, to, width);
                    }
                }
            }
            (fours, whole_rows)
        };
        if (packed, packed_rows) == (width, depth) {
            continue;
        }
        for (row, line) in panel.chunks_exact_mut(width).enumerate() {
            let done = if row < packed_rows { packed } else { 0 };
            for (column, element) in line[..filled].iter_mut().enumerate().skip(done) {
                // SAFETY: an element of the matrix.
                element.write(unsafe { *from(row, column) });
            }
            line[filled..].fill(MaybeUninit::new(T::zero()));
        }
    }
    start
}
