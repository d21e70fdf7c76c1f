//! What the ops are made of.

pub mod check;
pub mod cuda;
pub mod elements;
mod exp;
pub mod gpu;
pub mod matmul;
mod normal;
pub mod real;
pub mod rows;
pub mod tape;
#[cfg(test)]
pub mod testing;
pub mod upload;
