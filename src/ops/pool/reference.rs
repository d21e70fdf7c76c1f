//! `pool` in candle's own differentiable ops.

use candle_core::{Result, Tensor};

use super::Pool;

/// As [`super::pool`], differentiated by candle.
pub fn pool(x: &Tensor, lengths: &[usize], which: Pool) -> Result<Tensor> {
    let mut start = 0;
    let mut rows = Vec::with_capacity(lengths.len());
    for &length in lengths {
        let last = || x.narrow(0, start + length - 1, 1);
        let mean = || x.narrow(0, start, length)?.mean_keepdim(0);
        rows.push(match which {
            Pool::Last => last()?,
            Pool::First => x.narrow(0, start, 1)?,
            Pool::Mean => mean()?,
            Pool::Concat => Tensor::cat(&[last()?, maximum(&x.narrow(0, start, length)?)?, mean()?], 1)?,
        });
        start += length;
    }
    Tensor::cat(&rows, 0)
}

/// The maximum of each column. candle's own gradient of `max` goes to all equal maxima, here to the first.
fn maximum(rows: &Tensor) -> Result<Tensor> {
    let rows = rows.contiguous()?;
    rows.gather(&rows.argmax_keepdim(0)?, 0)
}
