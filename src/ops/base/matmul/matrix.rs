//! Views of matrices, and the buffer that tasks write together.

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ops::Range;

use super::super::real::Real;

/// Which elements of a matrix count. The others are zero in a factor and of no use in a result; a product leaves
/// out what it can of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Triangle {
    /// All.
    Whole,
    /// Those of columns up to `first + row`.
    Lower(usize),
    /// Those of rows up to `first + column`.
    Upper(usize),
}

impl Triangle {
    pub(super) fn transposed(self) -> Self {
        match self {
            Self::Whole => Self::Whole,
            Self::Lower(first) => Self::Upper(first),
            Self::Upper(first) => Self::Lower(first),
        }
    }

    /// Of so many columns, those with an element in one of `rows`.
    pub(super) fn columns(self, rows: &Range<usize>, columns: usize) -> Range<usize> {
        match self {
            Self::Whole => 0..columns,
            Self::Lower(first) => 0..columns.min(first + rows.end),
            Self::Upper(first) => rows.start.saturating_sub(first).min(columns)..columns,
        }
    }
}

/// A matrix to read: element (i, j) stands at `i * row_stride + j * column_stride`. One of the strides is 1.
#[derive(Clone, Copy)]
pub struct Matrix<'a, T> {
    pub(super) start: *const T,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) row_stride: usize,
    pub(super) column_stride: usize,
    pub(super) triangle: Triangle,
    owner: PhantomData<&'a [T]>,
}

// SAFETY: it is a view of a shared slice.
unsafe impl<T: Sync> Sync for Matrix<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Send for Matrix<'_, T> {}

impl<'a, T: Real> Matrix<'a, T> {
    /// `rows` x `columns` elements from the start of `data`, rows `row_stride` apart.
    pub fn new(data: &'a [T], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert_fits(data.len(), rows, columns, row_stride);
        let (start, triangle) = (data.as_ptr(), Triangle::Whole);
        Self { start, rows, columns, row_stride, column_stride: 1, triangle, owner: PhantomData }
    }

    /// The same matrix, zero in the columns after `first + row`.
    pub fn lower(self, first: usize) -> Self {
        Self { triangle: Triangle::Lower(first), ..self }
    }

    /// Rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            triangle: self.triangle.transposed(),
            ..self
        }
    }

    /// Where an element is, or would be if there were more.
    pub(super) fn element(&self, i: usize, j: usize) -> *const T {
        self.start.wrapping_add(i * self.row_stride + j * self.column_stride)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }
}

/// What a product is added to.
#[derive(Clone, Copy)]
pub enum Onto<'a, T> {
    /// Nothing: the destination may be fresh memory.
    Nothing,
    /// The same row everywhere, such as a bias.
    Row(&'a [T]),
    /// What the destination holds.
    Itself,
}

/// Who computes a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// The calling thread.
    One,
    /// All threads of rayon's pool.
    All,
}

/// A matrix to write, with contiguous rows.
pub struct MatrixMut<'a, T> {
    pub(super) start: *mut T,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) row_stride: usize,
    pub(super) triangle: Triangle,
    pub(super) owner: PhantomData<&'a mut [T]>,
}

impl<'a, T: Real> MatrixMut<'a, T> {
    /// `rows` x `columns` elements from the start of `data`, rows `row_stride` apart.
    pub fn new(data: &'a mut [T], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert_fits(data.len(), rows, columns, row_stride);
        let (start, triangle) = (data.as_mut_ptr(), Triangle::Whole);
        Self { start, rows, columns, row_stride, triangle, owner: PhantomData }
    }

    /// The same matrix, of which the columns after `first + row` are of no use: they may get any value or none.
    pub fn lower(self, first: usize) -> Self {
        Self { triangle: Triangle::Lower(first), ..self }
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
        let data = &self.data[offset.min(self.data.len())..];
        assert_fits(data.len(), rows, columns, row_stride);
        // A cell may be written through a shared reference, and both wrappers have the layout of T.
        let start = data.as_ptr().cast_mut().cast();
        MatrixMut { start, rows, columns, row_stride, triangle: Triangle::Whole, owner: PhantomData }
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
