//! Cross-entropy of logits rows: log-softmax, negative log-likelihood and its gradient without the tensors
//! in between. The row's log-sum-exp is not stored: backward finds it as loss + logit of the target.

mod cpu;
mod reference;
#[cfg(test)]
mod tests;

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};

use super::elements::{Elements, detached, elements, expect_same_device, expect_shape};
use super::real::by_dtype;

const NAME: &str = "cross_entropy";

/// Target of a row that does not count: its loss is 0 and its logits get no gradient.
pub const IGNORE_INDEX: u32 = u32::MAX;

/// The negative log-likelihood of each row's target.
///
/// loss = log(sum_j exp(logits_j)) - logits_target.
/// Shapes: logits (N, V), targets (N) -> (N). Dtypes: logits f32, f64 on the CPU; targets u32; the losses
/// of half-precision logits are f32.
/// Units: nats.
/// Gradient: logits: softmax(logits) - onehot(target), times the gradient of the row's loss.
/// Errors: shape, dtype or device mismatch; a target outside the vocabulary that is not [`IGNORE_INDEX`].
pub fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let &[rows, _] = logits.dims() else {
        bail!("{NAME}: expected logits of shape (N, V), got {:?}", logits.dims());
    };
    expect_shape(NAME, "targets", targets, &[rows])?;
    expect_same_device(NAME, "targets", targets, logits)?;
    if targets.dtype() != DType::U32 {
        bail!("{NAME}: expected targets of dtype u32, got {}", targets.dtype().as_str());
    }
    if !logits.device().is_cpu() {
        return reference::cross_entropy(logits, targets);
    }
    logits.contiguous()?.apply_op2(&targets.contiguous()?, CrossEntropy)
}

struct CrossEntropy;

impl CustomOp2 for CrossEntropy {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        logits: &CpuStorage,
        logits_layout: &Layout,
        targets: &CpuStorage,
        targets_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let targets = elements::<u32>(NAME, targets, targets_layout)?;
        let vocab_size = logits_layout.dims()[1];
        let outside = |&&target: &&u32| target != IGNORE_INDEX && target as usize >= vocab_size;
        if let Some(target) = targets.iter().find(outside) {
            bail!("{NAME}: expected targets below the vocabulary size {vocab_size}, got {target}");
        }
        by_dtype!(NAME, logits.dtype(), T => {
            let losses = cpu::forward(elements::<T>(NAME, logits, logits_layout)?, targets, vocab_size);
            Ok((T::to_cpu_storage_owned(losses), targets_layout.shape().clone()))
        })
    }

    fn bwd(
        &self,
        logits: &Tensor,
        targets: &Tensor,
        losses: &Tensor,
        d_losses: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [logits, losses, d_losses] = detached([logits, losses, d_losses])?;
        by_dtype!(NAME, logits.dtype(), T => {
            let d_logits = cpu::backward(
                &Elements::<T>::of(NAME, &logits)?,
                &Elements::of(NAME, targets)?,
                &Elements::of(NAME, &losses)?,
                &Elements::of(NAME, &d_losses)?,
                logits.dim(1)?,
            );
            Ok((Some(Tensor::from_vec(d_logits, logits.shape(), logits.device())?), None))
        })
    }
}
