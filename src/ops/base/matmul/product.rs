//! Walks a product in blocks that fit the caches, and divides it among threads.
//!
//! Source of the scheme: Goto and van de Geijn 2008, "Anatomy of High-Performance Matrix Multiplication".

use std::ops::Range;

use rayon::prelude::*;

use super::super::real::Real;
use super::kernel::{Kernel, MAX_ROWS, MAX_WIDTH, Tile, VECTORS};
use super::matrix::{Matrix, Threads, Triangle};
use super::pack::{Buffer, Strips, pack_b, panels};

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
    /// Which elements of C are wanted.
    pub triangle: Triangle,
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
    let (task_rows, task_columns) =
        task_size((rows, columns), packs_a::<T, K>(product), threads, K::ROWS, K::LANES);
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
fn task_size(
    (rows, columns): (usize, usize),
    packs_a: bool,
    threads: usize,
    tile_rows: usize,
    lanes: usize,
) -> (usize, usize) {
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
        let packing = PACKING * (task_columns + if packs_a { task_rows } else { 0 });
        // A thread that is disturbed costs up to one task: the more tasks, the less.
        (rounds * (multiplying + packing)) as f64 * (1. + 0.1 / rounds as f64)
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
        let (mut buffer_a, mut buffer_b) = (Buffer::new(), Buffer::new());
        let (depth, packs_along) = (product.a.columns, self.packs_along::<T, K>(product));
        let mut base = product.base;
        // A product of depth 0 still sets C.
        for k in (0..depth.max(1)).step_by(DEPTH) {
            let steps = k..depth.min(k + DEPTH);
            let b = buffer_b.strips(panels(self.columns, K::LANES).len(), steps.len(), VECTORS * K::LANES);
            if !packs_along {
                pack_b::<T, K>(product.b, steps.clone(), self.j..self.j + self.columns, b);
            }
            for i in (self.i..self.i + self.rows).step_by(BLOCK_ROWS) {
                let rows = BLOCK_ROWS.min(self.i + self.rows - i);
                let a = packs_a::<T, K>(product)
                    .then(|| buffer_a.strips(rows.div_ceil(K::ROWS), steps.len(), K::ROWS));
                let block = Part { i, rows, ..*self };
                block.tiles::<T, K>(product, base, steps.clone(), (a, b), packs_along && i == self.i);
            }
            base = Some((product.c.0.cast_const(), product.c.1));
        }
    }

    /// Whether the first strip of A packs B as it reads it, which hides most of the time that packing takes.
    fn packs_along<T: Real, K: Kernel<Element = T>>(&self, product: &Product<T>) -> bool {
        let whole_tiles = self.rows >= K::ROWS && self.columns.is_multiple_of(K::LANES);
        let triangles = [product.a.triangle, product.triangle];
        whole_tiles && product.b.column_stride == 1 && triangles == [Triangle::Whole; 2]
    }

    /// All tiles of a block over a range of steps. Of the strips, `a` is filled by the first panel, if there is
    /// one, and `b` by the first strip of A with `fills_b`, otherwise beforehand.
    fn tiles<T: Real, K: Kernel<Element = T>>(
        &self,
        product: &Product<T>,
        base: Option<(*const T, usize)>,
        steps: Range<usize>,
        (a, b): (Option<Strips<T>>, Strips<T>),
        fills_b: bool,
    ) {
        let (c, c_row) = product.c;
        let a_in_place = Strips::in_place::<K>(product.a, self.i, steps.start);
        for (panel, columns) in panels(self.columns, K::LANES).enumerate() {
            let (j, columns) = (self.j + columns.start, columns.len());
            for (strip, i) in (self.i..self.i + self.rows).step_by(K::ROWS).enumerate() {
                let rows = K::ROWS.min(self.i + self.rows - i);
                let wanted = product.triangle.columns(&(i..i + rows), product.b.columns);
                if wanted.end <= j || wanted.start >= j + columns {
                    continue;
                }
                let columns = (wanted.end - j).next_multiple_of(K::LANES).min(columns);
                let known = product.a.triangle.columns(&(i..i + rows), product.a.columns);
                let first = known.start.clamp(steps.start, steps.end);
                let depth = known.end.clamp(first, steps.end) - first;
                // From the second range of steps on C holds the sum so far.
                if depth == 0 && steps.start > 0 {
                    continue;
                }
                let step = first - steps.start;
                // Too few rows for a strip are read as they lie.
                let packed_a = a.filter(|_| rows == K::ROWS);
                let a = packed_a.filter(|_| panel > 0).unwrap_or(a_in_place);
                let pack_a = packed_a.filter(|_| panel == 0).map(|a| a.at(strip, step).cast_mut());
                let packed_b = b.at(panel, step);
                let fills_b = fills_b && strip == 0;
                // SAFETY: the tile lies within the matrices, and the strips hold its rows, columns and steps.
                unsafe {
                    let mut tile = Tile {
                        depth,
                        a: a.at(strip, step),
                        a_row: a.row,
                        a_step: a.step,
                        b: if fills_b { product.b.element(first, j) } else { packed_b },
                        b_step: if fills_b { product.b.row_stride } else { b.step },
                        pack_a,
                        pack_b: fills_b.then_some(packed_b.cast_mut()),
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

/// Whether the first panel of B packs A as it reads it. Where rows of A lie across the steps, each step reads another
/// line of the cache, often of another page; for a single panel that is all the reading there is.
fn packs_a<T: Real, K: Kernel<Element = T>>(product: &Product<T>) -> bool {
    product.a.column_stride > 1
        && product.b.columns > VECTORS * K::LANES
        && product.triangle == Triangle::Whole
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
