//! Muon over all matrices: the reference, behind the gate of AdamW.

#![cfg(feature = "cuda")]

use candle_core::{DType, Result};

use super::super::adamw::{Clip, gate};
use super::reference::{self, Gate};
use super::{MuonParam, check};

/// One update of all matrices; see `muon_all`.
pub fn update(params: &[MuonParam], clip: &Clip) -> Result<()> {
    let Some(MuonParam { param: first, .. }) = params.first() else { return Ok(()) };
    let numbers = gate(clip, first)?;
    let gate = Gate { scale: numbers.get(0)?, go: numbers.get(1)?.to_dtype(DType::U32)? };
    for MuonParam { param, momentum, grad, update, .. } in params {
        check(param, momentum, grad)?;
        reference::muon(param, momentum, grad, update, &gate)?;
    }
    Ok(())
}
