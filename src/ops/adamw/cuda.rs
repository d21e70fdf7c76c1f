//! Launches of AdamW over all parameters and of the norm of all gradients.

use candle_core::{DType, Result, Tensor, bail};

use super::super::base::cuda::{self, Arg, Grid, Kernels};
use super::super::base::elements::{expect_like, expect_shape};
use super::{AdamwParam, Clip, NAME};

static KERNELS: Kernels = cuda::kernels!("adamw");

/// Elements of a block's chunk, as in cuda.cu.
const CHUNK: usize = 8192;

/// The kernels' table of tensors, and how many chunks they make.
struct Table {
    entries: Tensor,
    count: usize,
    chunks: usize,
}

/// One line of it: addresses of param, copy, m, v and grad, number of elements, learning rate and weight decay.
type Line = ([u64; 5], usize, [f32; 2]);

impl Table {
    fn new(lines: impl Iterator<Item = Result<Line>>, like: &Tensor) -> Result<Self> {
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
        Ok(Self { entries: cuda::upload(&words, words.len(), cuda::device_of(like)?)?, count, chunks })
    }

    fn grid(&self) -> Grid {
        Grid { blocks: [self.chunks, 1], threads: [256, 1], shared_bytes: 0 }
    }
}

/// The global norm of gradients of f32, an f64 scalar.
pub fn norm(gradients: &[&Tensor]) -> Result<Tensor> {
    let Some(&first) = gradients.first() else { bail!("the norm of no gradients") };
    let device = cuda::device_of(first)?;
    let line =
        |gradient: &&Tensor| Ok(([0, 0, 0, 0, cuda::address(gradient)?], gradient.elem_count(), [0.; 2]));
    let table = Table::new(gradients.iter().map(line), first)?;
    let squares = cuda::empty(table.chunks, DType::F64, first.device())?;
    let args = [Arg::of(&table.entries)?, Arg::size(table.count)?, Arg::of(&squares)?];
    cuda::launch(device, &KERNELS, "chunk_squares", table.grid(), &args)?;
    let norm = cuda::empty((), DType::F64, first.device())?;
    let args = [Arg::of(&squares)?, Arg::size(table.chunks)?, Arg::of(&norm)?];
    let grid = Grid { blocks: [1, 1], threads: [1024, 1], shared_bytes: 0 };
    cuda::launch(device, &KERNELS, "finish_norm", grid, &args)?;
    Ok(norm)
}

/// One update of all parameters; see `adamw_all`.
pub fn update(params: &[AdamwParam], clip: &Clip, halted: &Tensor) -> Result<()> {
    let Some(AdamwParam { param: first, update, .. }) = params.first() else { return Ok(()) };
    let device = cuda::device_of(first)?;
    let line = |p: &AdamwParam| {
        let len = p.param.elem_count();
        expect_shape(NAME, "grad", p.grad, p.param.dims())?;
        expect_shape(NAME, "moments", p.moments, &[&[2], p.param.dims()].concat())?;
        expect_like(NAME, "grad", p.grad, p.param)?;
        expect_like(NAME, "moments", p.moments, p.param)?;
        let copy = p.copy.map(|copy| cuda::address(copy)).transpose()?.unwrap_or(0);
        let m = cuda::address(p.moments)?;
        let addresses = [cuda::address(p.param)?, copy, m, m + 4 * len as u64, cuda::address(p.grad)?];
        Ok((addresses, len, [p.update.learning_rate as f32, p.update.weight_decay as f32]))
    };
    let table = Table::new(params.iter().map(line), first)?;
    let gate = cuda::empty(2, DType::F32, first.device())?;
    let args = [
        Arg::of(clip.norm)?,
        Arg::of(clip.loss)?,
        Arg::F64(clip.max_norm),
        Arg::of(halted)?,
        Arg::of(&gate)?,
    ];
    let grid = Grid { blocks: [1, 1], threads: [32, 1], shared_bytes: 0 };
    cuda::launch(device, &KERNELS, "gate", grid, &args)?;
    let (correction1, correction2) = update.bias_corrections();
    let args = [
        Arg::of(&table.entries)?,
        Arg::size(table.count)?,
        Arg::of(&gate)?,
        Arg::F32(update.beta1 as f32),
        Arg::F32(update.beta2 as f32),
        Arg::F32(update.eps as f32),
        Arg::F32(correction1 as f32),
        Arg::F32(correction2.sqrt().recip() as f32),
    ];
    cuda::launch(device, &KERNELS, "adamw", table.grid(), &args)
}
