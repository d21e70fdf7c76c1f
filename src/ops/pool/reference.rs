//! `pool` in candle's own differentiable ops.

use candle_core::{Result, Tensor};

use super::Pool;

pub fn pool(x: &Tensor, lengths: &[usize], which: Pool) -> Result<Tensor> {
    let mut start = 0;
    let mut rows = Vec::with_capacity(lengths.len());
    for &length in lengths {
        rows.push(match which {
            Pool::Last => x.narrow(0, start + length - 1, 1)?,
            Pool::Mean => x.narrow(0, start, length)?.mean_keepdim(0)?,
        });
        start += length;
    }
    Tensor::cat(&rows, 0)
}
