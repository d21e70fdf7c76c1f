//! Fused, differentiable tensor operations: where nearly all of a training step's time goes.
//!
//! Layer 1. Each op is a folder: `mod.rs` (the function, its checks and its gradient), `reference.rs` (the
//! same math in candle's own ops: the specification, and what runs where there is no kernel), `cpu.rs`
//! (kernels on slices), `cuda.cu` and `cuda.rs` (kernels of the GPU and their launches) and `tests.rs`. Knows
//! nothing of models.
//!
//! Shape letters: B batch, T sequence, C hidden, H heads, K key-value heads, D head dimension, I MLP inner,
//! V vocabulary, N rows (B * T).

mod adamw;
mod add;
mod attention;
mod base;
mod cross_entropy;
mod dropout_mask;
mod embedding;
mod gelu;
mod head_cross_entropy;
mod layer_norm;
mod linear;
mod pool;
mod rms_norm;
mod rope;
mod sum_of_squares;
mod swiglu;

pub use adamw::{AdamwParam, AdamwStep, Clip, adamw, adamw_all};
pub use add::{add, add_columns, multiply, weighted_sum};
pub use attention::{attention, attention_cached};
pub use base::kernel_checks::{KernelCheck, check_kernels};
pub use base::tape::{GradientSums, Traced, recompute};
pub use base::upload::{upload, upload_f32};
pub use cross_entropy::{IGNORE_INDEX, cross_entropy};
pub use dropout_mask::dropout_mask;
pub use embedding::embedding;
pub use gelu::gelu;
pub use head_cross_entropy::{head_cross_entropy, head_losses};
pub use layer_norm::layer_norm;
pub use linear::{WeightLayout, linear};
pub use pool::{Pool, pool};
pub use rms_norm::rms_norm;
pub use rope::rope;
pub use sum_of_squares::global_norm;
pub use swiglu::swiglu;

#[cfg(feature = "cuda")]
pub use base::cuda::{kernel_times, time_kernels};

/// Whether matrix products of f32 on a GPU may round their factors to TF32; no other device does.
pub fn allow_tf32(allowed: bool) {
    #[cfg(feature = "cuda")]
    base::cuda::allow_tf32(allowed);
    #[cfg(not(feature = "cuda"))]
    let _ = allowed;
}

/// The same math in candle's own differentiable operations: what the ops are checked and measured against.
pub mod reference {
    pub use super::attention::reference::attention;
    pub use super::embedding::reference::embedding;
    pub use super::gelu::reference::gelu;
    pub use super::head_cross_entropy::reference::losses as head_losses;
    pub use super::layer_norm::reference::layer_norm;
    pub use super::linear::reference::linear;
    pub use super::rms_norm::reference::rms_norm;
    pub use super::rope::reference::rope;
    pub use super::swiglu::reference::swiglu;
}
