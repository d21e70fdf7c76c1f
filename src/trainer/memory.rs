//! What to say where a step runs out of memory: what would fit, found by trying.

use candle_core::Device;

use super::{BatchLoss, StepSettings, TrainConfig};
use crate::data::Batch;
use crate::device::{gpu_of, peak_gpu_bytes};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Dropout;
use crate::ops::GradientSums;

/// The error of step `number`, counted from 0, which ran out of memory: names the settings with which it fits.
///
/// Errors: the returned one; another if a trial fails for another reason.
pub(super) fn out_of_memory(
    batches: &[Batch],
    number: u64,
    train: &TrainConfig,
    settings: &StepSettings,
    device: &Device,
    loss: impl Fn(&Batch, f64, &mut Dropout) -> Result<BatchLoss>,
) -> Result<Error> {
    // Read before the trials.
    let held = gpu_of(device).map(|gpu| {
        let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
        let (tensors, all) = (gib(peak_gpu_bytes(device)), gib(gpu.memory_bytes as u64));
        format!(" in {all:.1} GiB, of which tensors took {tensors:.1}")
    });
    let recompute = if train.recompute { "" } else { ", or train.recompute=true" };
    let advice = match fitting_rows(batches, |batch| gradients_of_two(batch, number, settings, &loss))? {
        Some(rows) => format!(
            "{rows} fits: set train.micro_batch_size={rows} and train.grad_accum_steps={}{recompute}",
            train.global_batch_size().div_ceil(rows),
        ),
        None => format!(
            "nor does a single one: set a smaller train.seq_len than {} or a smaller model{recompute}",
            train.seq_len
        ),
    };
    let what = format!("train.micro_batch_size={} does not fit", train.micro_batch_size);
    let held = held.unwrap_or_default();
    Ok(Error::new(ErrorKind::Device, format!("out of memory at step {}: {what}{held}; {advice}", number + 1)))
}

/// Rows of the largest micro-batch on which `trial` does not run out of memory, halved until they fit.
fn fitting_rows(batches: &[Batch], trial: impl Fn(&Batch) -> Result<()>) -> Result<Option<usize>> {
    let Some(largest) = batches.iter().max_by_key(|batch| batch.tokens()) else { return Ok(None) };
    let mut rows = largest.lengths.len() / 2;
    while rows > 0 {
        match trial(&largest.first(rows)) {
            Err(error) if error.kind == ErrorKind::Device => rows /= 2,
            outcome => return outcome.map(|()| Some(rows)),
        }
    }
    Ok(None)
}

/// Two micro-batches, since the sums of the first one's gradients are held during the second.
fn gradients_of_two(
    batch: &Batch,
    number: u64,
    settings: &StepSettings,
    loss: &impl Fn(&Batch, f64, &mut Dropout) -> Result<BatchLoss>,
) -> Result<()> {
    let mut sums = GradientSums::default();
    for micro_step in 0..2 {
        let mut dropout = Dropout::new(settings.dropout, settings.seed, number, micro_step);
        sums.backward(&loss(batch, 1.0, &mut dropout)?.total)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor, Var};

    use super::*;
    use crate::ops;
    use crate::optim::SpikeLimits;

    /// What is said on a device with room for so many rows.
    fn line(room: usize, recompute: bool) -> String {
        let weight = Var::ones(2, DType::F32, &Device::Cpu).unwrap();
        let train =
            TrainConfig { micro_batch_size: 8, grad_accum_steps: 2, recompute, ..TrainConfig::default() };
        let settings = StepSettings {
            seed: 1,
            dropout: 0.0,
            learning_rate: 0.1,
            max_grad_norm: 0.0,
            skip_spikes: SpikeLimits::default(),
        };
        let batches = [3, 8].map(|rows| Batch {
            ids: vec![0; rows * 4],
            lengths: vec![4; rows],
            targets: vec![0; rows * 4],
        });
        let error = out_of_memory(&batches, 6, &train, &settings, &Device::Cpu, |batch, _, _| {
            let rows = batch.lengths.len();
            assert_eq!((batch.ids.len(), batch.targets.len()), (4 * rows, 4 * rows));
            if rows > room {
                let text = "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")";
                return Err(candle_core::Error::Msg(text.into()).into());
            }
            let ones = Tensor::ones(2, DType::F32, &Device::Cpu)?;
            Ok(ops::weighted_sum(&weight.as_tensor().into(), &ones)?.into())
        });
        let error = error.unwrap();
        assert_eq!(error.kind, ErrorKind::Device);
        error.to_string()
    }

    #[test]
    fn the_line_names_what_fits() {
        assert_eq!(
            line(3, false),
            "out of memory at step 7: train.micro_batch_size=8 does not fit; 2 fits: set \
             train.micro_batch_size=2 and train.grad_accum_steps=8, or train.recompute=true"
        );
        assert!(line(4, true).ends_with("train.micro_batch_size=4 and train.grad_accum_steps=4"));
        assert!(line(1, true).ends_with("train.micro_batch_size=1 and train.grad_accum_steps=16"));
    }

    #[test]
    fn where_one_row_is_too_much_the_line_says_so() {
        let line = line(0, false);
        for part in ["nor does a single one", "train.seq_len than 128", "train.recompute=true"] {
            assert!(line.contains(part), "{line}");
        }
    }
}
