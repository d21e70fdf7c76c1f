//! Launch of the cross-entropy kernel.

#![cfg(feature = "cuda")]

use candle_core::{DType, Result, Tensor, bail};

use super::super::base::cuda::{self, Arg, Grid, Kernels};
use super::super::base::tape::{Traced, record};

static KERNELS: Kernels = cuda::kernels!("cross_entropy");

/// What the gradient of each row is multiplied by.
pub enum Factor<'a> {
    /// The gradient of its loss, (N) of f32.
    Rows(&'a Tensor),
    /// The same for all.
    Same(f64),
}

/// Logits (rows, vocab_size) at the beginning of a contiguous tensor, rows `stride` elements apart.
pub struct Logits<'a> {
    pub tensor: &'a Tensor,
    pub stride: usize,
    pub vocab_size: usize,
}

/// Writes the loss of each row, f32, into `losses`, and the gradient of the logits into `d_logits`, which is
/// laid out as the logits are and may be the same tensor.
pub fn rows(
    logits: &Logits,
    targets: &Tensor,
    losses: Option<&Tensor>,
    gradient: Option<(&Tensor, Factor)>,
) -> Result<()> {
    let &Logits { tensor, stride, vocab_size } = logits;
    let rows = targets.elem_count();
    if rows * stride > tensor.elem_count() + stride - vocab_size {
        bail!("cross_entropy: {rows} rows do not fit into {} elements", tensor.elem_count());
    }
    let (d_logits, d_losses, scale) = match gradient {
        Some((d_logits, Factor::Rows(d_losses))) => (Some(d_logits), Some(d_losses), 1.),
        Some((d_logits, Factor::Same(scale))) => (Some(d_logits), None, scale),
        None => (None, None, 1.),
    };
    let tensors: Vec<&Tensor> = [tensor].into_iter().chain(d_logits).collect();
    let (width, suffix) = cuda::width_and_suffix(&tensors, stride)?;
    let threads = (vocab_size / width).next_multiple_of(32).clamp(32, 1024);
    let args = [
        Arg::of(tensor)?,
        Arg::size(stride)?,
        Arg::of(targets)?,
        Arg::of_option(losses)?,
        Arg::of_option(d_logits)?,
        Arg::size(stride)?,
        Arg::of_option(d_losses)?,
        Arg::F32(scale as f32),
        Arg::size(vocab_size)?,
    ];
    let grid = Grid { blocks: [rows, 1], threads: [threads, 1], shared_bytes: 0 };
    cuda::launch(cuda::device_of(tensor)?, &KERNELS, &format!("cross_entropy_{suffix}"), grid, &args)
}

/// The loss of each row of contiguous logits (N, V), f32.
pub fn forward(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let (rows_, vocab_size) = logits.dims2()?;
    let losses = cuda::empty(rows_, DType::F32, logits.device())?;
    let of = Logits { tensor: logits, stride: vocab_size, vocab_size };
    rows(&of, targets, Some(&losses), None)?;
    Ok(losses)
}

/// d_logits from the gradient of the losses, (N) of f32.
pub fn backward(logits: &Tensor, targets: &Tensor, d_losses: &Tensor) -> Result<Tensor> {
    let d_logits = cuda::empty(logits.shape(), logits.dtype(), logits.device())?;
    let vocab_size = logits.dim(1)?;
    let of = Logits { tensor: logits, stride: vocab_size, vocab_size };
    rows(&of, targets, None, Some((&d_logits, Factor::Rows(d_losses))))?;
    Ok(d_logits)
}

/// The op on contiguous inputs, with its backward.
pub fn cross_entropy(logits: &Traced, targets: Tensor) -> Result<Traced> {
    let losses = forward(logits.value(), &targets)?;
    let logits = logits.clone();
    Ok(record(losses, logits.is_tracked(), move |d_losses, gradients| {
        let d_logits = backward(logits.value(), &targets, d_losses.values())?;
        gradients.add(&logits, d_logits)
    }))
}
