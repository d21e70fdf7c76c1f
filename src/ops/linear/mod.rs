//! Matrix product with a weight, and the bias in the same pass.

mod cpu;
mod cuda;
pub(super) mod reference;
#[cfg(test)]
mod tests;

use candle_core::{Result, Tensor, bail};

use super::base::elements::{Elements, expect_like, expect_shape, last_dim};
use super::base::gpu::on_gpu;
use super::base::real::by_dtype;
use super::base::tape::{Gradient, Traced, by_reference, record};

const NAME: &str = "linear";

/// How a weight matrix is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightLayout {
    /// (O, I), as in `torch.nn.Linear` and Hugging Face Llama.
    OutIn,
    /// (I, O), as in Hugging Face GPT-2's `Conv1D`.
    InOut,
}

/// Multiplies each row by the weights, whose outputs stand side by side, and adds the bias.
///
/// y = x W^T + b for [`WeightLayout::OutIn`], y = x W + b for [`WeightLayout::InOut`].
/// Shapes: x (.., I), weights (O_i, I) or (I, O_i), bias (O) -> (.., O) with O the sum of all O_i.
/// Dtypes: f32; f64 on the CPU, bf16 on a GPU (sums in f32).
/// Gradient: x, weights, bias; one that nothing asks for is not computed.
/// Errors: no weight; shape, dtype or device mismatch; never converts silently.
pub fn linear(x: &Traced, weights: &[Traced], bias: Option<&Traced>, layout: WeightLayout) -> Result<Traced> {
    let sizes = sizes(x, weights, bias, layout)?;
    let (x, bias) = (x.contiguous()?, bias.map(Traced::contiguous).transpose()?);
    let weights = weights.iter().map(Traced::contiguous).collect::<Result<Vec<_>>>()?;
    let shape = [&x.dims()[..x.dims().len() - 1], &[sizes.width()]].concat();
    on_gpu!(x.value() => cuda::linear(&x, weights, bias, &shape, sizes));
    if !x.device().is_cpu() {
        let (count, has_bias) = (weights.len(), bias.is_some());
        let inputs: Vec<&Traced> = [&x].into_iter().chain(&weights).chain(&bias).collect();
        return by_reference(&inputs, move |t| {
            let weights: Vec<&Tensor> = t[1..=count].iter().collect();
            reference::linear(&t[0], &weights, has_bias.then(|| &t[count + 1]), layout)
        });
    }
    by_dtype!(NAME, x.dtype(), T => {
        let x_values = Elements::<T>::of(NAME, x.value())?;
        let bias_values = bias.as_ref().map(|bias| Elements::of(NAME, bias.value())).transpose()?;
        let mut y = cpu::Output::new(&sizes);
        for (i, weight) in weights.iter().enumerate() {
            y.set(i, &x_values, &Elements::of(NAME, weight.value())?, bias_values.as_deref());
        }
        let y = Tensor::from_vec(y.finish(), shape, x.device())?;
        drop((x_values, bias_values));

        let tracked = weights.iter().chain(bias.as_ref()).chain([&x]).any(Traced::is_tracked);
        Ok(record(y, tracked, move |d_y, gradients| {
            let d_y = Elements::<T>::of(NAME, d_y.values())?;
            if let Some(bias) = &bias {
                gradients.add_with(bias, |d_bias: &mut [T]| cpu::backward_bias(&d_y, d_bias))?;
            }
            for (i, weight) in weights.iter().enumerate() {
                let x_values = Elements::<T>::of(NAME, x.value())?;
                gradients.add_with(weight, |d_weight: &mut [T]| {
                    cpu::backward_weight(i, &x_values, &d_y, d_weight, &sizes);
                })?;
            }
            if x.is_tracked() {
                let mut d_x = cpu::InputGradient::new(&sizes);
                for (i, weight) in weights.iter().enumerate() {
                    d_x.add(i, &Elements::of(NAME, weight.value())?, &d_y);
                }
                gradients.add(&x, Gradient::new(d_x.finish(), x.dims())?)?;
            }
            Ok(())
        }))
    })
}

fn sizes(x: &Traced, weights: &[Traced], bias: Option<&Traced>, layout: WeightLayout) -> Result<cpu::Sizes> {
    let inputs = last_dim(NAME, "x", x.value())?;
    if weights.is_empty() {
        bail!("{NAME}: expected at least one weight");
    }
    let mut outputs = Vec::with_capacity(weights.len());
    for weight in weights.iter().map(Traced::value) {
        let (rows, columns) = weight.dims2()?;
        let (expected, count) = match layout {
            WeightLayout::OutIn => ([rows, inputs], rows),
            WeightLayout::InOut => ([inputs, columns], columns),
        };
        expect_shape(NAME, "weight", weight, &expected)?;
        expect_like(NAME, "weight", weight, x.value())?;
        outputs.push(count);
    }
    let sizes = cpu::Sizes { rows: x.value().elem_count() / inputs.max(1), inputs, outputs, layout };
    if let Some(bias) = bias {
        expect_shape(NAME, "bias", bias.value(), &[sizes.width()])?;
        expect_like(NAME, "bias", bias.value(), x.value())?;
    }
    Ok(sizes)
}
