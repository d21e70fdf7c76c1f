//! Strided views for the `gemm` crate, checked where they are made.

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};

use gemm::Parallelism;

use super::real::Real;

/// A matrix to read: element (i, j) stands at `i * row_stride + j * column_stride`.
#[derive(Clone, Copy)]
pub struct Matrix<'a, T> {
    start: *const T,
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
    owner: PhantomData<&'a [T]>,
}

impl<'a, T: Real> Matrix<'a, T> {
    /// `rows` x `columns` elements from the start of `data`, rows `row_stride` apart.
    pub fn new(data: &'a [T], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert_fits(data.len(), rows, columns, row_stride);
        Self { start: data.as_ptr(), rows, columns, row_stride, column_stride: 1, owner: PhantomData }
    }

    /// Rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// A matrix to write, with contiguous rows.
pub struct MatrixMut<'a, T> {
    start: *mut T,
    rows: usize,
    columns: usize,
    row_stride: usize,
    owner: PhantomData<&'a mut [T]>,
}

impl<'a, T: Real> MatrixMut<'a, T> {
    /// `rows` x `columns` elements from the start of `data`, rows `row_stride` apart.
    pub fn new(data: &'a mut [T], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert_fits(data.len(), rows, columns, row_stride);
        Self { start: data.as_mut_ptr(), rows, columns, row_stride, owner: PhantomData }
    }

    /// self = scale * a b, or self += scale * a b where `accumulate` is set.
    pub fn set_product(
        &mut self,
        accumulate: bool,
        scale: T,
        a: Matrix<T>,
        b: Matrix<T>,
        parallelism: Parallelism,
    ) {
        assert_eq!((self.rows, self.columns, a.columns), (a.rows, b.columns, b.rows), "matrix sizes");
        // SAFETY: the views lie within their borrowed memory, checked when they were made, and the sizes
        // agree. gemm reads the destination only where told to, so it may be fresh memory otherwise.
        unsafe {
            gemm::gemm(
                a.rows,
                b.columns,
                a.columns,
                self.start,
                1,
                self.row_stride as isize,
                accumulate,
                a.start,
                a.column_stride as isize,
                a.row_stride as isize,
                b.start,
                b.column_stride as isize,
                b.row_stride as isize,
                T::one(),
                scale,
                false,
                false,
                false,
                parallelism,
            );
        }
    }
}

/// A buffer of which several tasks write their own rectangles at once; not initialised at first.
pub struct SharedBuffer<T> {
    data: Vec<UnsafeCell<MaybeUninit<T>>>,
}

// SAFETY: the only access is `rectangle`, whose caller promises that rectangles in use do not overlap.
unsafe impl<T: Send> Sync for SharedBuffer<T> {}

impl<T: Real> SharedBuffer<T> {
    /// Memory for `len` elements.
    pub fn new(len: usize) -> Self {
        let mut data = Vec::with_capacity(len);
        // SAFETY: the capacity is `len`, and MaybeUninit needs no initial value.
        unsafe { data.set_len(len) };
        Self { data }
    }

    /// The rectangle of `rows` x `columns` elements that starts at `offset`, rows `row_stride` apart.
    ///
    /// # Safety
    /// No other rectangle that shares an element with this one may be alive, and an element may be
    /// accumulated to only after it was set.
    pub unsafe fn rectangle(
        &self,
        offset: usize,
        rows: usize,
        columns: usize,
        row_stride: usize,
    ) -> MatrixMut<'_, T> {
        let data = &self.data[offset..];
        assert_fits(data.len(), rows, columns, row_stride);
        // A cell may be written through a shared reference, and both wrappers have the layout of T.
        let start = data.as_ptr().cast_mut().cast();
        MatrixMut { start, rows, columns, row_stride, owner: PhantomData }
    }

    /// The finished buffer.
    ///
    /// # Safety
    /// Every element must have been set.
    pub unsafe fn into_vec(self) -> Vec<T> {
        let mut data = ManuallyDrop::new(self.data);
        // SAFETY: pointer, length and capacity are those of a vector that is given up here; the elements
        // are initialised by the caller's promise, and both wrappers have the layout of T.
        unsafe { Vec::from_raw_parts(data.as_mut_ptr().cast(), data.len(), data.capacity()) }
    }
}

fn assert_fits(len: usize, rows: usize, columns: usize, row_stride: usize) {
    assert!(columns <= row_stride, "rows of {columns} elements overlap at a stride of {row_stride}");
    if rows > 0 && columns > 0 {
        let needed = (rows - 1) * row_stride + columns;
        assert!(needed <= len, "a matrix of {needed} elements does not fit into {len}");
    }
}

/// Every thread the process is meant to use.
pub fn all_threads() -> Parallelism {
    Parallelism::Rayon(candle_core::utils::get_num_threads())
}
