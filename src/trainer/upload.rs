//! A batch on its way from the host to where the model computes.

use candle_core::{Device, Result, Tensor};

use crate::data::Batch;
use crate::model::TokenRows;
use crate::ops;

/// The tokens of a batch, with their positions, and its targets on the device.
pub fn on_device(batch: &Batch, device: &Device) -> Result<(TokenRows, Tensor)> {
    let ids = ops::upload(&batch.ids, batch.ids.len(), device)?;
    let targets = ops::upload(&batch.targets, batch.targets.len(), device)?;
    Ok((TokenRows::new(&ids, &batch.lengths, 0)?, targets))
}
