//! Products of strided matrices on the CPU: C = scale A B, onto nothing, a row or C itself.
//!
//! `kernel` multiplies a few rows by a few vectors of columns, `pack` lays the factors out for it, `product` walks
//! the matrices in blocks that fit the caches and divides them among threads, `multiply` chooses the kernel. No
//! element's sum depends on the number of threads.

mod kernel;
mod matrix;
mod multiply;
mod pack;
mod product;
#[cfg(test)]
mod tests;

pub use matrix::{Matrix, MatrixMut, Onto, SharedBuffer, Threads};
pub use multiply::{Multiply, set_product};
