//! Parallel loops over the rows of a matrix, cut by the shape alone.
//!
//! The chunks never depend on the number of threads, so sums over chunks have the same bits on any machine.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::real::{Real, vectorised};

/// Elements of one chunk: 16 KiB of f32, which stays in a core's first cache from filling to the last pass.
pub const CHUNK: usize = 4 * 1024;

/// Least rows of a task that returns a row of partial sums, so that adding these up costs little.
const MIN_SUMMED_ROWS: usize = 32;

/// Makes a `rows` x `width` buffer; `kernel(range, out)` must fill `out` with the rows of `range`.
pub fn fill_rows<T: Real>(
    rows: usize,
    width: usize,
    kernel: impl Fn(Range<usize>, &mut [T]) + Sync,
) -> Vec<T> {
    fill_chunks(rows, width, (CHUNK / width.max(1)).max(1), kernel).0
}

/// As [`fill_rows`], where the kernel also returns `sums` numbers to add up over all rows.
pub fn fill_rows_and_sum<T: Real>(
    rows: usize,
    width: usize,
    sums: usize,
    kernel: impl Fn(Range<usize>, &mut [T], &mut [T]) + Sync,
) -> (Vec<T>, Vec<T>) {
    let chunk_rows = (CHUNK / width.max(1)).max(MIN_SUMMED_ROWS);
    let (filled, partials) = fill_chunks(rows, width, chunk_rows, |range, out| {
        let mut partial = vec![T::zero(); sums];
        kernel(range, out, &mut partial);
        partial
    });
    (filled, add_up(sums, partials))
}

/// `len` zeros.
pub fn zeros<T: Real>(len: usize) -> Vec<T> {
    fill_rows(len, 1, |_, _| {})
}

/// total += x, element by element, in parallel.
pub fn add_chunks<T: Real>(total: &mut [T], x: &[T]) {
    if total.len() <= CHUNK {
        return add_to(total, x);
    }
    total.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(total, x)| add_to(total, x));
}

/// One number for each of the `rows` rows of `x`.
pub fn map_rows<T: Real>(
    x: &[T],
    width: usize,
    rows: usize,
    kernel: impl Fn(usize, &[T]) -> T + Sync,
) -> Vec<T> {
    let chunk_rows = (CHUNK / width.max(1)).max(1);
    fill_chunks(rows, 1, chunk_rows, |range, out| {
        for (row, out) in range.zip(out) {
            *out = kernel(row, &x[row * width..][..width]);
        }
    })
    .0
}

/// Runs `kernel(row, elements)` on each row of `x` in place, and collects what it returns in order.
pub fn for_each_row<T: Real>(
    x: &mut [T],
    width: usize,
    kernel: impl Fn(usize, &mut [T]) -> T + Sync,
) -> Vec<T> {
    let rows = x.par_chunks_exact_mut(width.max(1)).enumerate();
    rows.with_min_len((CHUNK / width.max(1)).max(1)).map(|(row, x)| kernel(row, x)).collect()
}

/// Sum of each of the `width` columns of `x`.
pub fn column_sums<T: Real>(x: &[T], width: usize) -> Vec<T> {
    let chunk_rows = (CHUNK / width.max(1)).max(MIN_SUMMED_ROWS);
    let partial = |chunk: &[T]| {
        let mut sums = vec![T::zero(); width];
        chunk.chunks_exact(width).for_each(|row| add_to(&mut sums, row));
        sums
    };
    let partials = if x.len() <= CHUNK {
        x.chunks(chunk_rows * width.max(1)).map(partial).collect()
    } else {
        x.par_chunks(chunk_rows * width).map(partial).collect()
    };
    add_up(width, partials)
}

fn fill_chunks<T: Real, R: Send>(
    rows: usize,
    width: usize,
    chunk_rows: usize,
    kernel: impl Fn(Range<usize>, &mut [T]) -> R + Sync,
) -> (Vec<T>, Vec<R>) {
    let len = rows * width;
    let mut buffer: Vec<T> = Vec::with_capacity(len);
    if len == 0 {
        return (buffer, Vec::new());
    }
    let run = |(index, chunk): (usize, &mut [MaybeUninit<T>])| {
        let first = index * chunk_rows;
        kernel(first..first + chunk.len() / width, zeroed(chunk))
    };
    let chunks = &mut buffer.spare_capacity_mut()[..len];
    let results = if rows <= chunk_rows {
        vec![run((0, chunks))]
    } else {
        chunks.par_chunks_mut(chunk_rows * width).enumerate().map(run).collect()
    };
    // SAFETY: the chunks cover the first `len` elements, and `run` has initialised every chunk.
    unsafe { buffer.set_len(len) };
    (buffer, results)
}

/// Zero-fills fresh memory. A chunk is written again by its kernel while it is in the cache, so this costs
/// far less than zeroing the whole buffer beforehand, and the kernels stay safe code.
fn zeroed<T: Real>(chunk: &mut [MaybeUninit<T>]) -> &mut [T] {
    for element in chunk.iter_mut() {
        element.write(T::zero());
    }
    // SAFETY: every element has just been written; MaybeUninit<T> has the layout of T.
    unsafe { &mut *(std::ptr::from_mut(chunk) as *mut [T]) }
}

/// Adds up the partial sums in order.
fn add_up<T: Real>(len: usize, partials: Vec<Vec<T>>) -> Vec<T> {
    let mut partials = partials.into_iter();
    let mut total = partials.next().unwrap_or_else(|| vec![T::zero(); len]);
    partials.for_each(|partial| add_to(&mut total, &partial));
    total
}

vectorised! {
    /// total += x, element by element.
    pub fn add_to<T: Real>(total: &mut [T], x: &[T]) {
        for (total, &x) in total.iter_mut().zip(x) {
            *total += x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CHUNK, column_sums, fill_rows, fill_rows_and_sum};

    #[test]
    fn every_row_is_filled_once() {
        for (rows, width) in [(0, 3), (3, 0), (1, 1), (7, 5), (CHUNK, 3), (3, CHUNK + 1)] {
            let filled = fill_rows::<f64>(rows, width, |range, out| {
                assert_eq!(out.len(), range.len() * width);
                for (row, out) in range.zip(out.chunks_exact_mut(width)) {
                    out.iter_mut().for_each(|element| *element += (row + 1) as f64);
                }
            });
            let expected: Vec<f64> = (0..rows * width).map(|i| (i / width + 1) as f64).collect();
            assert!(filled == expected, "{rows} x {width}");
        }
    }

    #[test]
    fn columns_are_summed_over_all_rows() {
        for (rows, width) in [(0, 3), (1, 1), (7, 5), (CHUNK + 1, 3), (70, CHUNK)] {
            let x: Vec<f64> = (0..rows * width).map(|i| (i % width) as f64).collect();
            let expected: Vec<f64> = (0..width).map(|column| (rows * column) as f64).collect();
            assert!(column_sums(&x, width) == expected, "{rows} x {width}");
            let (_, sums) = fill_rows_and_sum::<f64>(rows, width, 2, |range, _, sums| {
                sums[0] += range.len() as f64;
                sums[1] += 1. / 1024.;
            });
            assert_eq!(sums[0], rows as f64);
        }
    }
}
