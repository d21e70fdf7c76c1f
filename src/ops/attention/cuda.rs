//! Launches of the attention kernels. Their tile sizes stand in the `KERNELS` lines of cuda.cu alone, and are
//! read from there.

#![cfg(feature = "cuda")]

use candle_core::{CudaDevice, DType, Result, Tensor, bail};

use super::super::base::cuda::{self, Arg, Grid, Kernels};
use super::super::base::tape::{Traced, record};
use super::Mask;
use super::cpu::Sizes;

static KERNELS: Kernels = cuda::kernels!("attention");
const SOURCE: &str = include_str!("cuda.cu");

/// Tiles of one kernel: a block of `warps` warps owns 16 m rows for each of them; `stream` rows pass by at a time.
#[derive(Clone, Copy)]
struct Tiling {
    head_dim: usize,
    m: usize,
    warps: usize,
    stream: usize,
    element_bytes: usize,
}

impl Tiling {
    fn rows(&self) -> usize {
        16 * self.m * self.warps
    }

    /// Dynamic shared memory with `own` tiles of the block's rows and two stages of what passes by, each of two
    /// tiles and two floats for each of their rows (tiling.cuh).
    fn shared_bytes(&self, own: usize) -> usize {
        let stride = self.head_dim + 16 / self.element_bytes;
        let stage = 2 * self.stream * stride * self.element_bytes + 2 * self.stream * 4;
        own * self.rows() * stride * self.element_bytes + 2 * stage
    }
}

/// The kernels of one type and head size.
struct Variant {
    suffix: String,
    forward: Tiling,
    backward: Tiling,
}

/// The kernels for heads of `head_dim` elements; none for a size or an alignment that they do not take.
fn variant(dtype: DType, head_dim: usize) -> Option<Variant> {
    let element_bytes = dtype.size_in_bytes();
    if !head_dim.is_multiple_of(16 / element_bytes) {
        return None; // Vectors are copied 16 bytes at a time.
    }
    let name = match dtype {
        DType::BF16 => "bf16",
        DType::F32 if cuda::tf32_is_allowed() => "tf32",
        _ => "f32",
    };
    // KERNELS(suffix, arithmetic, HEAD_DIM, M, WARPS, STREAM of forward, M, WARPS, STREAM of backward)
    let lines = SOURCE.lines().filter_map(|line| line.strip_prefix("KERNELS(")?.strip_suffix(')'));
    let variants = lines.filter_map(|line| {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let numbers: Vec<usize> = fields.get(2..)?.iter().filter_map(|field| field.parse().ok()).collect();
        let &[head_dim, m, warps, stream, backward_m, backward_warps, backward_stream] = &numbers[..] else {
            return None;
        };
        let tiling = |m, warps, stream| Tiling { head_dim, m, warps, stream, element_bytes };
        Some(Variant {
            suffix: fields[0].to_string(),
            forward: tiling(m, warps, stream),
            backward: tiling(backward_m, backward_warps, backward_stream),
        })
    });
    let of_type = variants.filter(|variant| variant.suffix.starts_with(&format!("{name}_")));
    let fits = of_type.filter(|variant| variant.forward.head_dim >= head_dim);
    fits.min_by_key(|variant| variant.forward.head_dim)
}

/// Whether there are kernels for this input.
pub fn fits(qkv: &Traced, head_dim: usize) -> Result<bool> {
    let aligned = cuda::address(qkv.value())?.is_multiple_of(16);
    Ok(aligned && qkv.dims()[0] > 0 && variant(qkv.dtype(), head_dim).is_some())
}

/// Begin and end of its sequence and first own row of each block, longest work first: (3 blocks).
fn tiles(lengths: &[usize], rows: usize, device: &CudaDevice) -> Result<(Tensor, usize)> {
    let blocks = lengths.iter().map(|length| length.div_ceil(rows)).sum();
    let make = || {
        let (mut tiles, mut begin) = (Vec::with_capacity(blocks), 0);
        for length in lengths {
            let end = begin + length;
            tiles.extend((begin..end).step_by(rows).map(|first| [begin, end, first].map(|n| n as u32)));
            begin = end;
        }
        tiles.sort_by_key(|[begin, _, first]| std::cmp::Reverse(first - begin));
        tiles.concat()
    };
    Ok((cuda::remembered(lengths, rows, device, make)?, blocks))
}

/// y, and lse (H, N) for the backward pass.
fn forward(qkv: &Tensor, sizes: &Sizes, variant: &Variant) -> Result<(Tensor, Tensor)> {
    let (rows, device) = (qkv.dim(0)?, cuda::device_of(qkv)?);
    let y = cuda::empty((rows, sizes.num_heads * sizes.head_dim), qkv.dtype(), qkv.device())?;
    let lse = cuda::empty((sizes.num_heads, rows), DType::F32, qkv.device())?;
    let tiling = variant.forward;
    let (tiles, blocks) = tiles(&sizes.lengths, tiling.rows(), device)?;
    let args =
        [&[Arg::of(qkv)?, Arg::of(&tiles)?], &shape_args(rows, sizes)?[..], &[Arg::of(&y)?, Arg::of(&lse)?]]
            .concat();
    let name = format!("attention_forward_{}", variant.suffix);
    let shared_bytes = tiling.shared_bytes(1);
    let grid = Grid { blocks: [blocks, sizes.num_heads], threads: [32 * tiling.warps, 1], shared_bytes };
    cuda::launch(device, &KERNELS, &name, grid, &args)?;
    Ok((y, lse))
}

/// d_qkv.
fn backward(
    qkv: &Tensor,
    y: &Tensor,
    lse: &Tensor,
    d_y: &Tensor,
    sizes: &Sizes,
    variant: &Variant,
) -> Result<Tensor> {
    let (rows, device) = (qkv.dim(0)?, cuda::device_of(qkv)?);
    let d_qkv = cuda::empty(qkv.shape(), qkv.dtype(), qkv.device())?;
    let delta = cuda::empty(lse.shape(), DType::F32, qkv.device())?;
    let tiling = variant.backward;
    let (tiles, blocks) = tiles(&sizes.lengths, tiling.rows(), device)?;
    let shape = [&[Arg::of(&tiles)?], &shape_args(rows, sizes)?[..]].concat();
    let threads = [32 * tiling.warps, 1];
    let shared_bytes = tiling.shared_bytes(2);

    // Writes d_q and delta, which the kernel of keys reads.
    let args = [
        &[Arg::of(qkv)?, Arg::of(y)?, Arg::of(d_y)?, Arg::of(lse)?],
        &shape[..],
        &[Arg::of(&d_qkv)?, Arg::of(&delta)?],
    ]
    .concat();
    let name = format!("attention_backward_queries_{}", variant.suffix);
    let grid = Grid { blocks: [blocks, sizes.num_heads], threads, shared_bytes };
    cuda::launch(device, &KERNELS, &name, grid, &args)?;

    let args =
        [&[Arg::of(qkv)?, Arg::of(d_y)?, Arg::of(lse)?, Arg::of(&delta)?], &shape[..], &[Arg::of(&d_qkv)?]]
            .concat();
    let name = format!("attention_backward_keys_{}", variant.suffix);
    let grid = Grid { blocks: [blocks, sizes.num_kv_heads], threads, shared_bytes };
    cuda::launch(device, &KERNELS, &name, grid, &args)?;
    Ok(d_qkv)
}

/// N, H, K, D, whether the mask is causal, and the scale of the scores.
fn shape_args(rows: usize, sizes: &Sizes) -> Result<[Arg; 6]> {
    let scale = Arg::F32((sizes.head_dim as f32).powf(-0.5));
    let [heads, kv_heads, head_dim] = [sizes.num_heads, sizes.num_kv_heads, sizes.head_dim];
    let causal = Arg::size(usize::from(sizes.mask == Mask::Causal))?;
    Ok([Arg::size(rows)?, Arg::size(heads)?, Arg::size(kv_heads)?, Arg::size(head_dim)?, causal, scale])
}

/// The op on a contiguous input that [`fits`], with its backward.
pub fn attention(qkv: &Traced, sizes: Sizes) -> Result<Traced> {
    let Some(variant) = variant(qkv.dtype(), sizes.head_dim) else {
        bail!("attention: no kernel for heads of {} elements", sizes.head_dim);
    };
    let (y, lse) = forward(qkv.value(), &sizes, &variant)?;
    let (qkv, kept) = (qkv.clone(), y.clone());
    Ok(record(y, qkv.is_tracked(), move |d_y, gradients| {
        let d_qkv = backward(qkv.value(), &kept, &lse, d_y.values(), &sizes, &variant)?;
        gradients.add(&qkv, d_qkv)
    }))
}
