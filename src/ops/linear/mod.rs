//! Matrix product with a weight, and the bias in the same pass.

mod cpu;
mod reference;
#[cfg(test)]
mod tests;

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};

use super::elements::{Elements, detached, elements, expect_like, expect_shape, last_dim};
use super::real::{Real, by_dtype};

const NAME: &str = "linear";

/// How a weight matrix is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightLayout {
    /// (O, I), as in `torch.nn.Linear` and Hugging Face Llama.
    OutIn,
    /// (I, O), as in Hugging Face GPT-2's `Conv1D`.
    InOut,
}

/// Multiplies each row by the weight and adds the bias.
///
/// y = x W^T + b for [`WeightLayout::OutIn`], y = x W + b for [`WeightLayout::InOut`].
/// Shapes: x (.., I), weight (O, I) or (I, O), bias (O) -> (.., O). Dtypes: f32, f64 on the CPU.
/// Gradient: x, weight, bias; one that nothing asks for is not computed.
/// Errors: shape, dtype or device mismatch; never converts silently.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, layout: WeightLayout) -> Result<Tensor> {
    let inputs = last_dim(NAME, "x", x)?;
    let (rows, columns) = weight.dims2()?;
    let outputs = match layout {
        WeightLayout::OutIn => rows,
        WeightLayout::InOut => columns,
    };
    let expected = match layout {
        WeightLayout::OutIn => [outputs, inputs],
        WeightLayout::InOut => [inputs, outputs],
    };
    expect_shape(NAME, "weight", weight, &expected)?;
    expect_like(NAME, "weight", weight, x)?;
    if let Some(bias) = bias {
        expect_shape(NAME, "bias", bias, &[outputs])?;
        expect_like(NAME, "bias", bias, x)?;
    }
    if !x.device().is_cpu() {
        return reference::linear(x, weight, bias, layout);
    }
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    match bias {
        Some(bias) => x.apply_op3(&weight, &bias.contiguous()?, Linear { layout }),
        None => x.apply_op2(&weight, Linear { layout }),
    }
}

struct Linear {
    layout: WeightLayout,
}

impl Linear {
    fn forward(
        &self,
        x: (&CpuStorage, &Layout),
        weight: (&CpuStorage, &Layout),
        bias: Option<(&CpuStorage, &Layout)>,
    ) -> Result<(CpuStorage, Shape)> {
        let sizes = cpu::Sizes::new(x.1.dims(), weight.1.dims(), self.layout);
        let mut shape = x.1.dims().to_vec();
        shape[x.1.dims().len() - 1] = sizes.outputs;
        by_dtype!(NAME, x.0.dtype(), T => {
            let bias = bias.map(|(storage, layout)| elements::<T>(NAME, storage, layout)).transpose()?;
            let y = cpu::forward(elements(NAME, x.0, x.1)?, elements(NAME, weight.0, weight.1)?, bias, &sizes);
            Ok((T::to_cpu_storage_owned(y), shape.into()))
        })
    }

    /// Gradients of x and weight.
    fn backward<T: Real>(&self, x: &Tensor, weight: &Tensor, d_y: &Tensor) -> Result<[Option<Tensor>; 2]> {
        let wanted = [x.track_op(), weight.track_op()];
        let [x, weight, d_y] = detached([x, weight, d_y])?;
        let sizes = cpu::Sizes::new(x.dims(), weight.dims(), self.layout);
        let d_y = Elements::<T>::of(NAME, &d_y)?;
        let mut d_x = None;
        if wanted[0] {
            let values = cpu::backward_x(&Elements::of(NAME, &weight)?, &d_y, &sizes);
            d_x = Some(Tensor::from_vec(values, x.shape(), x.device())?);
        }
        let mut d_weight = None;
        if wanted[1] {
            let values = cpu::backward_weight(&Elements::of(NAME, &x)?, &d_y, &sizes);
            d_weight = Some(Tensor::from_vec(values, weight.shape(), weight.device())?);
        }
        Ok([d_x, d_weight])
    }
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((x, x_layout), (weight, weight_layout), None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _y: &Tensor,
        d_y: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [d_x, d_weight] = by_dtype!(NAME, x.dtype(), T => self.backward::<T>(x, weight, d_y))?;
        Ok((d_x, d_weight))
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((x, x_layout), (weight, weight_layout), Some((bias, bias_layout)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        d_y: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        by_dtype!(NAME, x.dtype(), T => {
            let [d_x, d_weight] = self.backward::<T>(x, weight, d_y)?;
            let mut d_bias = None;
            if bias.track_op() {
                let [d_y] = detached([d_y])?;
                let values = cpu::backward_bias(&Elements::<T>::of(NAME, &d_y)?, bias.elem_count());
                d_bias = Some(Tensor::from_vec(values, bias.shape(), bias.device())?);
            }
            Ok((d_x, d_weight, d_bias))
        })
    }
}
