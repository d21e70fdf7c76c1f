//! `linear` by cuBLASLt, which adds the bias too, and a kernel for the gradient of the bias.

#![cfg(feature = "cuda")]

use candle_core::{DType, Result, Tensor};

use super::super::base::cuda::{self, Arg, Grid, Kernels, Matrix, Output};
use super::super::base::tape::{Traced, record};
use super::WeightLayout;
use super::cpu::Sizes;

static KERNELS: Kernels = cuda::kernels!("linear");

/// Weight i as (outputs, inputs).
fn out_in(i: usize, weight: &Tensor, sizes: &Sizes) -> Result<Matrix> {
    let (inputs, outputs) = (sizes.inputs, sizes.outputs[i]);
    match sizes.layout {
        WeightLayout::OutIn => Matrix::new(weight, 0, outputs, inputs, inputs),
        WeightLayout::InOut => Ok(Matrix::new(weight, 0, inputs, outputs, outputs)?.transposed()),
    }
}

/// The columns of y or d_y that belong to weight i.
fn columns(i: usize, y: &Tensor, sizes: &Sizes) -> Result<Matrix> {
    let columns = sizes.columns(i);
    Matrix::new(y, columns.start, sizes.rows, columns.len(), sizes.width())
}

fn rows(x: &Tensor, sizes: &Sizes) -> Result<Matrix> {
    Matrix::new(x, 0, sizes.rows, sizes.inputs, sizes.inputs)
}

/// y = x W^T + b, the outputs of all weights side by side, in the given shape.
pub fn forward(
    x: &Tensor,
    weights: &[&Tensor],
    bias: Option<&Tensor>,
    shape: &[usize],
    sizes: &Sizes,
) -> Result<Tensor> {
    let y = cuda::empty(shape, x.dtype(), x.device())?;
    for (i, weight) in weights.iter().enumerate() {
        let output = match bias {
            Some(bias) => {
                let start = sizes.columns(i).start * bias.dtype().size_in_bytes();
                Output::Bias(cuda::address(bias)? + start as u64)
            }
            None => Output::Set,
        };
        let weight = out_in(i, weight, sizes)?.transposed();
        cuda::gemm(cuda::device_of(x)?, columns(i, &y, sizes)?, rows(x, sizes)?, weight, output)?;
    }
    Ok(y)
}

/// d_x = d_y W, summed over the weights.
pub fn backward_input(x: &Tensor, weights: &[&Tensor], d_y: &Tensor, sizes: &Sizes) -> Result<Tensor> {
    let d_x = cuda::empty(x.shape(), x.dtype(), x.device())?;
    for (i, weight) in weights.iter().enumerate() {
        let output = if i == 0 { Output::Set } else { Output::Add };
        let (d_y, weight) = (columns(i, d_y, sizes)?, out_in(i, weight, sizes)?);
        cuda::gemm(cuda::device_of(x)?, rows(&d_x, sizes)?, d_y, weight, output)?;
    }
    Ok(d_x)
}

/// d_W = d_y^T x for weight i, or its transpose, as the weight is stored; onto what stands there where `onto`.
pub fn backward_weight(
    i: usize,
    x: &Tensor,
    d_y: &Tensor,
    d_weight: &Tensor,
    onto: bool,
    sizes: &Sizes,
) -> Result<()> {
    let (outputs, inputs) = (sizes.outputs[i], sizes.inputs);
    let (x, d_y) = (rows(x, sizes)?, columns(i, d_y, sizes)?);
    let output = if onto { Output::Add } else { Output::Set };
    let device = cuda::device_of(d_weight)?;
    match sizes.layout {
        WeightLayout::OutIn => {
            let d_weight = Matrix::new(d_weight, 0, outputs, inputs, inputs)?;
            cuda::gemm(device, d_weight, d_y.transposed(), x, output)
        }
        WeightLayout::InOut => {
            let d_weight = Matrix::new(d_weight, 0, inputs, outputs, outputs)?;
            cuda::gemm(device, d_weight, x.transposed(), d_y, output)
        }
    }
}

/// d_b = column sums of d_y, in f32; onto what stands there where `onto`.
pub fn backward_bias(d_y: &Tensor, d_bias: &Tensor, onto: bool, sizes: &Sizes) -> Result<()> {
    let (rows, columns) = (sizes.rows, sizes.width());
    let (width, suffix) = cuda::width_and_suffix(&[d_y], columns)?;
    let parts = rows.div_ceil(64).clamp(1, 256);
    let partials = cuda::empty((parts, columns), DType::F32, d_y.device())?;
    let grid = Grid { blocks: [columns.div_ceil(32 * width), parts], threads: [32, 8], shared_bytes: 0 };
    let args =
        [Arg::of(d_y)?, Arg::of(&partials)?, Arg::size(rows)?, Arg::size(columns)?, Arg::size(columns)?];
    cuda::launch(cuda::device_of(d_y)?, &KERNELS, &format!("column_sums_{suffix}"), grid, &args)?;
    cuda::sum_partials(&partials, d_bias, onto)
}

/// The op on contiguous inputs, with its backward; `shape` is that of the result.
pub fn linear(
    x: &Traced,
    weights: Vec<Traced>,
    bias: Option<Traced>,
    shape: &[usize],
    sizes: Sizes,
) -> Result<Traced> {
    fn values(weights: &[Traced]) -> Vec<&Tensor> {
        weights.iter().map(Traced::value).collect()
    }
    let y = forward(x.value(), &values(&weights), bias.as_ref().map(Traced::value), shape, &sizes)?;
    let x = x.clone();
    let tracked = weights.iter().chain(&bias).chain([&x]).any(Traced::is_tracked);
    Ok(record(y, tracked, move |d_y, gradients| {
        let d_y = d_y.values();
        if let Some(bias) = &bias {
            gradients.add_on_gpu(bias, |d_bias, onto| backward_bias(d_y, d_bias, onto, &sizes))?;
        }
        for (i, weight) in weights.iter().enumerate() {
            gradients.add_on_gpu(weight, |d_weight, onto| {
                backward_weight(i, x.value(), d_y, d_weight, onto, &sizes)
            })?;
        }
        if x.is_tracked() {
            gradients.add(&x, backward_input(x.value(), &values(&weights), d_y, &sizes)?)?;
        }
        Ok(())
    }))
}
