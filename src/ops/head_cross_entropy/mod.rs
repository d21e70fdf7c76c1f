//! The language-model head and its cross-entropy in one: the (N, V) logits exist a block of rows at a time.
//!
//! A block's logits become its gradients in place, and these are multiplied on at once, so the gradients of
//! hidden states and weight are ready when the loss is; backward only hands them on.

mod cpu;
mod cuda;
pub(super) mod reference;
#[cfg(test)]
mod tests;

use candle_core::{Result, Tensor, bail};

use super::base::elements::{Elements, expect_like, expect_shape};
use super::base::gpu::on_gpu;
use super::base::real::by_dtype;
use super::base::tape::{Gradient, Traced, by_reference, record};
use super::cross_entropy::expect_targets;

const NAME: &str = "head_cross_entropy";

/// The sum over rows of the cross-entropy of `hidden weight^T` against the targets, times `scale`.
///
/// Shapes: hidden (N, C), weight (V, C), targets (N) u32 -> ().
/// Dtypes: f32; f64 on the CPU, bf16 on a GPU (sums, loss and the
/// gradient of a variable in f32).
/// Units: nats times `scale`.
/// Gradient: hidden, weight. A row whose target is `IGNORE_INDEX` adds nothing to either.
/// Errors: shape, dtype or device mismatch; a target outside the vocabulary.
/// Source: gradients in the forward pass, in blocks: Hsu et al. 2024, arXiv 2410.10989, section 3.2.
pub fn head_cross_entropy(hidden: &Traced, weight: &Traced, targets: &Tensor, scale: f64) -> Result<Traced> {
    let sizes = sizes(hidden, weight, targets)?;
    let (hidden, weight, targets) = (hidden.contiguous()?, weight.contiguous()?, targets.contiguous()?);
    on_gpu!(hidden.value() => cuda::head_cross_entropy(&hidden, &weight, &targets, scale, &sizes));
    if !hidden.device().is_cpu() {
        return by_reference(&[&hidden, &weight], move |t| {
            reference::losses(&t[0], &t[1], &targets)?.sum_all()? * scale
        });
    }
    by_dtype!(NAME, hidden.dtype(), T => {
        let wanted = [hidden.is_tracked(), weight.is_tracked()];
        let (loss, d_hidden, d_weight) = cpu::loss_and_gradients(
            &Elements::<T>::of(NAME, hidden.value())?,
            &Elements::of(NAME, weight.value())?,
            &Elements::of(NAME, &targets)?,
            scale,
            &sizes,
            wanted,
        );
        let loss = Tensor::from_vec(vec![T::from_f64(loss)], (), hidden.device())?;
        Ok(record(loss, hidden.is_tracked() || weight.is_tracked(), move |d_loss, gradients| {
            let d_loss = d_loss.values().to_scalar::<T>()?;
            for (input, gradient) in [(&hidden, d_hidden), (&weight, d_weight)] {
                let Some(mut gradient) = gradient else { continue };
                if d_loss != T::from_f64(1.) {
                    gradient.iter_mut().for_each(|gradient| *gradient *= d_loss);
                }
                gradients.add(input, Gradient::new(gradient, input.dims())?)?;
            }
            Ok(())
        }))
    })
}

/// The cross-entropy of each row, without gradients.
///
/// Shapes: hidden (N, C), weight (V, C), targets (N) u32 -> (N). Units: nats; 0 where there is no target.
pub fn head_losses(hidden: &Traced, weight: &Traced, targets: &Tensor) -> Result<Tensor> {
    let sizes = sizes(hidden, weight, targets)?;
    let (hidden, weight, targets) = (hidden.contiguous()?, weight.contiguous()?, targets.contiguous()?);
    on_gpu!(hidden.value() => cuda::losses(hidden.value(), weight.value(), &targets, &sizes));
    if !hidden.device().is_cpu() {
        return reference::losses(hidden.value(), weight.value(), &targets);
    }
    by_dtype!(NAME, hidden.dtype(), T => {
        let losses = cpu::losses(
            &Elements::<T>::of(NAME, hidden.value())?,
            &Elements::of(NAME, weight.value())?,
            &Elements::of(NAME, &targets)?,
            &sizes,
        );
        Tensor::from_vec(losses, sizes.rows, hidden.device())
    })
}

fn sizes(hidden: &Traced, weight: &Traced, targets: &Tensor) -> Result<cpu::Sizes> {
    let (&[rows, columns], &[vocab_size, _]) = (hidden.dims(), weight.dims()) else {
        bail!(
            "{NAME}: expected hidden of shape (N, C) and weight of shape (V, C), got {:?} and {:?}",
            hidden.dims(),
            weight.dims()
        );
    };
    expect_shape(NAME, "weight", weight.value(), &[vocab_size, columns])?;
    expect_like(NAME, "weight", weight.value(), hidden.value())?;
    expect_targets(NAME, targets, rows, vocab_size, hidden.value())?;
    Ok(cpu::Sizes { rows, columns, vocab_size })
}
