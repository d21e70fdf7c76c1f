//! What a model reads: the tokens of several sequences.

use candle_core::{Result, Tensor};

use crate::ops;

/// The tokens of several sequences, one after the other, without padding.
#[derive(Clone)]
pub struct TokenRows {
    ids: Tensor,
    positions: Tensor,
    lengths: Vec<usize>,
}

impl TokenRows {
    /// Sequences of these lengths, whose first token stands at position `start`.
    ///
    /// Shapes: ids (N) u32, N the sum of the lengths.
    /// Errors: lengths of 0, or that do not add up to N.
    pub fn new(ids: &Tensor, lengths: &[usize], start: usize) -> Result<Self> {
        let rows = ids.dims1()?;
        if lengths.contains(&0) || lengths.iter().sum::<usize>() != rows {
            candle_core::bail!("sequences of lengths {lengths:?} do not make up {rows} tokens");
        }
        let positions: Vec<u32> =
            lengths.iter().flat_map(|length| start as u32..(start + length) as u32).collect();
        let positions = ops::upload(&positions, rows, ids.device())?;
        Ok(Self { ids: ids.clone(), positions, lengths: lengths.to_vec() })
    }

    /// Sequences of equal length: input_ids (B, T).
    pub fn equal(input_ids: &Tensor, start: usize) -> Result<Self> {
        let (b, t) = input_ids.dims2()?;
        Self::new(&input_ids.flatten_all()?, &vec![t; b], start)
    }

    /// Ids (N).
    pub(super) fn ids(&self) -> &Tensor {
        &self.ids
    }

    /// The place (N) of each token in its sequence.
    pub(super) fn positions(&self) -> &Tensor {
        &self.positions
    }

    /// Tokens in each sequence.
    pub(super) fn lengths(&self) -> &[usize] {
        &self.lengths
    }
}
