//! Cross-entropy of logits rows: log-softmax, negative log-likelihood and its gradient without the tensors
//! in between. The row's log-sum-exp is not stored: backward finds it as loss + logit of the target.

mod cpu;
pub(super) mod cuda;
pub(super) mod reference;
#[cfg(test)]
mod tests;

use candle_core::{DType, Result, Tensor, bail};

use super::base::elements::{Elements, expect_same_device, expect_shape};
use super::base::gpu::on_gpu;
use super::base::real::by_dtype;
use super::base::tape::{Gradient, Traced, by_reference, record};

const NAME: &str = "cross_entropy";

/// Target of a row that does not count: its loss is 0 and its logits get no gradient.
pub const IGNORE_INDEX: u32 = u32::MAX;

/// The negative log-likelihood of each row's target.
///
/// loss = log(sum_j exp(logits_j)) - logits_target.
/// Shapes: logits (N, V), targets (N) -> (N).
/// Dtypes: targets u32, logits f32; f64 on the CPU, bf16 on a GPU, where losses are f32.
/// Units: nats.
/// Gradient: logits: softmax(logits) - onehot(target), times the gradient of the row's loss.
/// Errors: shape, dtype or device mismatch; a target outside the vocabulary that is not [`IGNORE_INDEX`].
pub fn cross_entropy(logits: &Traced, targets: &Tensor) -> Result<Traced> {
    let &[rows, vocab_size] = logits.dims() else {
        bail!("{NAME}: expected logits of shape (N, V), got {:?}", logits.dims());
    };
    expect_targets(NAME, targets, rows, vocab_size, logits.value())?;
    let (logits, targets) = (logits.contiguous()?, targets.contiguous()?);
    on_gpu!(logits.value() => cuda::cross_entropy(&logits, targets));
    if !logits.device().is_cpu() {
        return by_reference(&[&logits], move |t| reference::cross_entropy(&t[0], &targets));
    }
    by_dtype!(NAME, logits.dtype(), T => {
        let losses = cpu::forward(
            &Elements::<T>::of(NAME, logits.value())?,
            &Elements::of(NAME, &targets)?,
            vocab_size,
        );
        let losses = Tensor::from_vec(losses, rows, logits.device())?;
        Ok(record(losses.clone(), logits.is_tracked(), move |d_losses, gradients| {
            let d_logits = cpu::backward(
                &Elements::<T>::of(NAME, logits.value())?,
                &Elements::of(NAME, &targets)?,
                &Elements::of(NAME, &losses)?,
                &Elements::of(NAME, d_losses.values())?,
                vocab_size,
            );
            gradients.add(&logits, Gradient::new(d_logits, logits.dims())?)
        }))
    })
}

/// Fails unless `targets` are (rows) of u32 on the device of `like`, and on the CPU each a class or ignored.
pub(super) fn expect_targets(
    op: &str,
    targets: &Tensor,
    rows: usize,
    num_classes: usize,
    like: &Tensor,
) -> Result<()> {
    expect_shape(op, "targets", targets, &[rows])?;
    expect_same_device(op, "targets", targets, like)?;
    if targets.dtype() != DType::U32 {
        bail!("{op}: expected targets of dtype u32, got {}", targets.dtype().as_str());
    }
    if like.device().is_cpu() {
        let outside = |&target: &u32| target != IGNORE_INDEX && target as usize >= num_classes;
        if let Some(target) = targets.to_vec1::<u32>()?.into_iter().find(outside) {
            bail!("{op}: expected targets below the vocabulary size {num_classes}, got {target}");
        }
    }
    Ok(())
}
