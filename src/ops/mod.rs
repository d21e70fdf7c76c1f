//! Fused, differentiable tensor operations: where nearly all of a training step's time goes.
//!
//! Layer 1. Each op is a folder: `mod.rs` (the function, its checks and its gradient), `reference.rs` (the
//! same math in candle's own ops: the specification, and what runs on other devices than the CPU), `cpu.rs`
//! (kernels on slices) and `tests.rs`. Knows nothing of models.
//!
//! Shape letters: B batch, T sequence, C hidden, H heads, K key-value heads, D head dimension, I MLP inner,
//! V vocabulary, N rows (B * T).

mod attention;
mod cross_entropy;
mod elements;
mod exp;
mod linear;
mod matmul;
mod real;
mod rows;
#[cfg(test)]
mod testing;

pub use attention::{attention, attention_cached};
pub use cross_entropy::{IGNORE_INDEX, cross_entropy};
pub use linear::{WeightLayout, linear};
