//! The table of tensors that kernels over all parameters read (table.cuh).

use candle_core::{Result, Tensor};

use super::{Arg, Grid, device_of, upload};

/// Elements of a block's chunk, as in table.cuh.
const CHUNK: usize = 8192;

/// Tensors on the device, and how many chunks they make.
pub struct Table {
    entries: Tensor,
    count: usize,
    /// Blocks of a launch over all of them.
    pub chunks: usize,
}

/// Addresses of param, copy, m, v and grad, 0 for what is not needed, number of elements, learning rate and
/// weight decay.
pub type Line = ([u64; 5], usize, [f32; 2]);

impl Table {
    /// The table on the device of `like`; lines without elements are left out.
    pub fn new(lines: impl Iterator<Item = Result<Line>>, like: &Tensor) -> Result<Self> {
        let (mut words, mut chunks, mut count) = (Vec::new(), 0, 0);
        for line in lines {
            let (addresses, len, rates) = line?;
            if len == 0 {
                continue;
            }
            let sizes = [chunks as u64, len as u64];
            words.extend(
                addresses.into_iter().chain(sizes).flat_map(|word| [word as u32, (word >> 32) as u32]),
            );
            words.extend(rates.map(f32::to_bits));
            (chunks, count) = (chunks + len.div_ceil(CHUNK), count + 1);
        }
        Ok(Self { entries: upload(&words, words.len(), device_of(like)?)?, count, chunks })
    }

    /// The kernels' first two arguments.
    pub fn args(&self) -> Result<[Arg; 2]> {
        Ok([Arg::of(&self.entries)?, Arg::size(self.count)?])
    }

    /// A block for each chunk.
    pub fn grid(&self) -> Grid {
        Grid { blocks: [self.chunks, 1], threads: [256, 1], shared_bytes: 0 }
    }
}
