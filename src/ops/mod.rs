//! Fused, differentiable tensor operations: where nearly all of a training step's time goes.
//!
//! A folder for each op: `mod.rs` (function, checks, gradient), `reference.rs` (the same in candle's own ops: the
//! specification, and what runs where there is no kernel), `cpu.rs`, `cuda.cu` and `cuda.rs` (kernels), `tests.rs`.
//! Letters: B batch, T sequence, C hidden, H heads, K key-value heads, D head dimension, V vocabulary, N rows (B * T).

mod adamw; // Update of all parameters, with the gradient clipped.
mod add; // Residual stream plus branch, with dropout.
mod add_columns; // Low-rank update into the columns of its weight.
mod attention; // Self-attention over sequences of any lengths.
mod concat; // Biases of maps that run as one.
mod cross_entropy; // Loss of each row of logits.
mod dropout_mask; // Factors of dropout, the same on every device.
mod embedding; // Rows of a table by id.
mod gelu; // Activation of GPT-2's MLP.
mod gelu_erf; // Activation of BERT's MLP.
mod global_norm; // Norm of all gradients together.
mod head_cross_entropy; // Language-model head and its loss, a block of rows at a time.
mod layer_norm; // Rows to zero mean and unit variance.
mod linear; // Products with one weight or several side by side.
mod multiply; // Dropout without a residual stream.
mod muon; // Update of matrices by momentum made orthogonal.
mod pool; // One row for each sequence.
mod rms_norm; // Rows to unit mean square.
mod rope; // Rotary position embedding of queries and keys.
mod swiglu; // Activation of Llama's MLP.
mod tanh; // Activation of BERT's pooler.
mod weighted_sum; // Loss of a batch from those of its rows.

// No ops: what they are made of, and what holds them against the CPU on another device.
mod base;
mod kernel_checks;

pub use adamw::{AdamwParam, AdamwStep, Clip, adamw, adamw_all};
pub use add::add;
pub use add_columns::add_columns;
pub use attention::{Mask, attention, attention_cached};
pub use concat::concat;
pub use cross_entropy::{IGNORE_INDEX, cross_entropy};
pub use dropout_mask::dropout_mask;
pub use embedding::embedding;
pub use gelu::gelu;
pub use gelu_erf::gelu_erf;
pub use global_norm::global_norm;
pub use head_cross_entropy::{head_cross_entropy, head_losses};
pub use kernel_checks::{KernelCheck, check_kernels};
pub use layer_norm::layer_norm;
pub use linear::{WeightLayout, linear};
pub use multiply::multiply;
pub use muon::{MuonParam, MuonStep, muon, muon_all};
pub use pool::{Pool, pool};
pub use rms_norm::rms_norm;
pub use rope::rope;
pub use swiglu::swiglu;
pub use tanh::tanh;
pub use weighted_sum::weighted_sum;

pub use base::check::{Check, check, normal};
pub use base::elements::{expect_like, expect_shape};
pub use base::gpu::{allow_tf32, kernel_times, time_kernels};
pub use base::tape::{Gradient, GradientSums, Traced, by_reference, recompute, record};
pub use base::upload::{upload, upload_f32};

/// The same math in candle's own differentiable operations: what the ops are checked and measured against.
pub mod reference {
    pub use super::attention::reference::attention;
    pub use super::embedding::reference::embedding;
    pub use super::gelu::reference::gelu;
    pub use super::gelu_erf::reference::gelu_erf;
    pub use super::head_cross_entropy::reference::losses as head_losses;
    pub use super::layer_norm::reference::layer_norm;
    pub use super::linear::reference::linear;
    pub use super::rms_norm::reference::rms_norm;
    pub use super::rope::reference::rope;
    pub use super::swiglu::reference::swiglu;
}
