//! Head and cross-entropy on the device, in chunks of rows: products by cuBLASLt, the rest by the cross-entropy
//! kernel, which writes the gradient over the logits.

#![cfg(feature = "cuda")]

use candle_core::{DType, Result, Tensor};

use super::super::base::cuda::{self, Matrix, Output};
use super::super::base::tape::{Gradient, Traced, record};
use super::super::cross_entropy::cuda::{Factor, Logits, rows};
use super::cpu::Sizes;

/// Logits held at once: 512 MiB of bf16. Larger chunks write the weight's gradient less often.
const CHUNK_LEN: usize = 256 << 20;

/// Chunks of rows of nearly one size, with rows of the logits `stride` apart.
struct Chunks {
    rows: usize,
    /// The vocabulary, rounded up so that every row starts at 128 bytes: products of odd strides are slow.
    stride: usize,
}

impl Chunks {
    fn new(sizes: &Sizes) -> Self {
        let stride = sizes.vocab_size.next_multiple_of(64);
        let count = (sizes.rows * stride).div_ceil(CHUNK_LEN).max(1);
        Self { rows: sizes.rows.div_ceil(count).next_multiple_of(128).clamp(1, sizes.rows.max(1)), stride }
    }
}

/// Runs `task(logits, start, rows)` on the logits of each chunk.
fn for_each_chunk(
    hidden: &Tensor,
    weight: &Tensor,
    sizes: &Sizes,
    mut task: impl FnMut(&Logits, usize, usize) -> Result<()>,
) -> Result<()> {
    let &Sizes { rows, columns, vocab_size } = sizes;
    let chunks = Chunks::new(sizes);
    let buffer = cuda::empty((chunks.rows, chunks.stride), hidden.dtype(), hidden.device())?;
    for start in (0..rows).step_by(chunks.rows) {
        let len = chunks.rows.min(rows - start);
        let hidden = Matrix::new(hidden, start * columns, len, columns, columns)?;
        let weight = Matrix::new(weight, 0, vocab_size, columns, columns)?.transposed();
        let logits = Matrix::new(&buffer, 0, len, vocab_size, chunks.stride)?;
        cuda::gemm(cuda::device_of(&buffer)?, logits, hidden, weight, Output::Set)?;
        task(&Logits { tensor: &buffer, stride: chunks.stride, vocab_size }, start, len)?;
    }
    Ok(())
}

/// The sum of the losses times `scale`, f32, with the gradients of hidden and weight (f32) if wanted.
pub fn loss_and_gradients(
    hidden: &Tensor,
    weight: &Tensor,
    targets: &Tensor,
    scale: f64,
    sizes: &Sizes,
    wanted: [bool; 2],
) -> Result<(Tensor, Option<Tensor>, Option<Tensor>)> {
    let (device, columns) = (hidden.device(), sizes.columns);
    let losses = cuda::empty(sizes.rows, DType::F32, device)?;
    let d_hidden = match wanted[0] {
        true => Some(cuda::empty(hidden.shape(), hidden.dtype(), device)?),
        false => None,
    };
    let d_weight = match wanted[1] {
        true => Some(cuda::empty(weight.shape(), DType::F32, device)?),
        false => None,
    };
    for_each_chunk(hidden, weight, sizes, |logits, start, len| {
        let gradient = (wanted != [false; 2]).then_some((logits.tensor, Factor::Same(scale)));
        rows(logits, &targets.narrow(0, start, len)?, Some(&losses.narrow(0, start, len)?), gradient)?;
        let d_logits = Matrix::new(logits.tensor, 0, len, logits.vocab_size, logits.stride)?;
        if let Some(d_hidden) = &d_hidden {
            let d_hidden = Matrix::new(d_hidden, start * columns, len, columns, columns)?;
            let weight = Matrix::new(weight, 0, logits.vocab_size, columns, columns)?;
            cuda::gemm(cuda::device_of(hidden)?, d_hidden, d_logits, weight, Output::Set)?;
        }
        if let Some(d_weight) = &d_weight {
            let d_weight = Matrix::new(d_weight, 0, logits.vocab_size, columns, columns)?;
            let hidden_rows = Matrix::new(hidden, start * columns, len, columns, columns)?;
            let output = if start == 0 { Output::Set } else { Output::Add };
            cuda::gemm(cuda::device_of(hidden)?, d_weight, d_logits.transposed(), hidden_rows, output)?;
        }
        Ok(())
    })?;
    Ok((cuda::sum_all(&losses, scale)?, d_hidden, d_weight))
}

/// The loss of each row, f32.
pub fn losses(hidden: &Tensor, weight: &Tensor, targets: &Tensor, sizes: &Sizes) -> Result<Tensor> {
    let losses = cuda::empty(sizes.rows, DType::F32, hidden.device())?;
    for_each_chunk(hidden, weight, sizes, |logits, start, len| {
        rows(logits, &targets.narrow(0, start, len)?, Some(&losses.narrow(0, start, len)?), None)
    })?;
    Ok(losses)
}

/// The op on contiguous inputs, with its backward, which hands on the gradients that the forward pass made.
pub fn head_cross_entropy(
    hidden: &Traced,
    weight: &Traced,
    targets: &Tensor,
    scale: f64,
    sizes: &Sizes,
) -> Result<Traced> {
    let wanted = [hidden.is_tracked(), weight.is_tracked()];
    let (loss, d_hidden, d_weight) =
        loss_and_gradients(hidden.value(), weight.value(), targets, scale, sizes, wanted)?;
    let (hidden, weight) = (hidden.clone(), weight.clone());
    Ok(record(loss, wanted != [false; 2], move |d_loss, gradients| {
        for (input, gradient) in [(&hidden, d_hidden), (&weight, d_weight)] {
            let Some(gradient) = gradient else { continue };
            cuda::scale_by(&gradient, d_loss.values())?;
            gradients.add(input, Gradient::own(gradient))?;
        }
        Ok(())
    }))
}
