//! Class probabilities of labelled rows.

use candle_core::{DType, Device};

use crate::data::Examples;
use crate::error::{Error, Result};
use crate::model::{Classifier, Dropout};
use crate::progress::Progress;
use crate::signals;
use crate::trainer::on_device;

/// Class probabilities of every text, in their order, whatever the batch size: the mean over its windows.
///
/// Errors: a probability that is not finite (76); a signal.
pub fn probabilities(
    model: &Classifier,
    examples: &Examples,
    rows_per_batch: usize,
    device: &Device,
    progress: &Progress,
) -> Result<Vec<Vec<f64>>> {
    let batches = examples.by_length(rows_per_batch);
    let mut found = vec![Vec::new(); batches.iter().map(Vec::len).sum()];
    let bar = progress.bar("classifying", found.len() as u64);
    let mut done = 0;
    for rows in batches {
        signals::check()?;
        let (tokens, _) = on_device(&examples.batch(&rows), device)?;
        let logits = model.logits(&tokens, &mut Dropout::off())?;
        for (row, logits) in rows.iter().zip(logits.value().to_dtype(DType::F64)?.to_vec2::<f64>()?) {
            let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = logits.iter().map(|logit| (logit - highest).exp()).collect();
            let total: f64 = weights.iter().sum();
            found[*row] = weights.iter().map(|weight| weight / total).collect();
            if !total.is_finite() {
                return Err(Error::not_finite());
            }
        }
        done += rows.len() as u64;
        bar.advance_to(done, || "rows".into());
    }
    Ok(examples.means_of_texts(found))
}
