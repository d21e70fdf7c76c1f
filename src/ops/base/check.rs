//! Holds an op against its reference in candle's ops and against central differences.

use std::fmt;

use candle_core::{DType, Device, Result, Tensor, Var, bail};
use rand_distr::{Distribution, StandardNormal};

use super::tape::{GradientSums, Traced};
use crate::rng::stream;

/// One number that an op was held against.
#[derive(Clone, Debug)]
pub struct Check {
    /// What was compared.
    pub what: String,
    /// Largest distance of an element, relative to the largest expected element.
    pub error: f64,
    /// What it may be.
    pub allowed: f64,
}

impl Check {
    /// Whether the error is allowed; one that is not a number never is.
    pub fn passes(&self) -> bool {
        self.error <= self.allowed
    }
}

impl fmt::Display for Check {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let verdict = if self.passes() { "ok" } else { "WRONG" };
        write!(out, "{}: error {:.1e}, allowed {:.0e}, {verdict}", self.what, self.error, self.allowed)
    }
}

/// What errors may be.
pub struct Tolerance;

impl Tolerance {
    /// Two orders of summation in f32, sums of up to a few thousand terms: 2^-24 times some hundred.
    pub const F32: f64 = 1e-5;
    /// The same in f64 (2^-53), with room for a division or two.
    pub const F64: f64 = 1e-13;
    /// Central differences: step 1e-5, so 1e-10 from the third derivative and as much from rounding,
    /// times derivatives of order 10 to 100.
    pub const DIFFERENCES: f64 = 1e-7;
}

/// Half of the distance over which a central difference is taken.
const STEP: f64 = 1e-5;
/// Elements of an input that are moved, about.
const SAMPLES: usize = 24;

/// Result and gradients of an op against its reference, in f32 and f64, and gradients against central differences.
///
/// The inputs are f64, on the CPU; all get gradients, of a fixed weighting of the elements of the result.
/// Errors: those of op and reference; an input without a gradient, a result of another shape.
pub fn check(
    inputs: &[Tensor],
    op: impl Fn(&[Traced]) -> Result<Traced>,
    reference: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for (dtype, allowed) in [(DType::F32, Tolerance::F32), (DType::F64, Tolerance::F64)] {
        let found = outputs(&op, inputs, dtype, &Device::Cpu)?;
        let expected = reference_outputs(&reference, inputs, dtype)?;
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let part = if i == 0 { "result".into() } else { format!("gradient {}", i - 1) };
            let what = format!("{part} in {}", dtype.as_str());
            checks.push(Check { what, error: distance(found, expected)?, allowed });
        }
    }
    let gradients = outputs(&op, inputs, DType::F64, &Device::Cpu)?;
    for (which, gradient) in gradients[1..].iter().enumerate() {
        let what = format!("gradient {which} against central differences");
        let error = distance_from_slopes(&op, inputs, which, &flat(gradient)?)?;
        checks.push(Check { what, error, allowed: Tolerance::DIFFERENCES });
    }
    Ok(checks)
}

/// Standard normal numbers, f64 on the CPU, the same for the same name and shape.
pub fn normal(name: &str, shape: &[usize]) -> Result<Tensor> {
    let mut random = stream(7, name, &[]);
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| StandardNormal.sample(&mut random)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

/// The numbers of a float tensor.
pub fn flat(tensor: &Tensor) -> Result<Vec<f64>> {
    tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}

/// The result of an op, and the gradients of a fixed weighting of its elements.
pub fn outputs(
    op: &impl Fn(&[Traced]) -> Result<Traced>,
    inputs: &[Tensor],
    dtype: DType,
    device: &Device,
) -> Result<Vec<Tensor>> {
    let variables = variables(inputs, dtype, device)?;
    let traced: Vec<Traced> = variables.iter().map(|variable| variable.as_tensor().into()).collect();
    let y = op(&traced)?;
    let mut gradients = GradientSums::default();
    gradients.backward_from(&y, weights_of_sum(y.value())?)?;
    let mut outputs = vec![y.value().clone()];
    for variable in &variables {
        match gradients.remove(variable)? {
            Some(gradient) => outputs.push(gradient),
            None => bail!("an input got no gradient"),
        }
    }
    Ok(outputs)
}

/// As [`outputs`], by candle.
fn reference_outputs(
    reference: &impl Fn(&[Tensor]) -> Result<Tensor>,
    inputs: &[Tensor],
    dtype: DType,
) -> Result<Vec<Tensor>> {
    let variables = variables(inputs, dtype, &Device::Cpu)?;
    let y = reference(&variables.iter().map(|variable| variable.as_tensor().clone()).collect::<Vec<_>>())?;
    let gradients = (&y * weights_of_sum(&y)?)?.sum_all()?.backward()?;
    let mut outputs = vec![y];
    for variable in &variables {
        match gradients.get(variable) {
            Some(gradient) => outputs.push(gradient.clone()),
            None => bail!("candle found no gradient for an input of the reference"),
        }
    }
    Ok(outputs)
}

fn variables(inputs: &[Tensor], dtype: DType, device: &Device) -> Result<Vec<Var>> {
    inputs.iter().map(|input| Var::from_tensor(&input.to_dtype(dtype)?.to_device(device)?)).collect()
}

/// What the elements of a result are weighted with.
pub fn weights_of_sum(y: &Tensor) -> Result<Tensor> {
    normal("weights of the sum", y.dims())?.to_dtype(y.dtype())?.to_device(y.device())
}

/// Largest distance of an element, relative to the largest expected one.
fn distance(found: &Tensor, expected: &Tensor) -> Result<f64> {
    if (found.dims(), found.dtype()) != (expected.dims(), expected.dtype()) {
        bail!(
            "expected {:?} of {}, got {:?} of {}",
            expected.dims(),
            expected.dtype().as_str(),
            found.dims(),
            found.dtype().as_str()
        );
    }
    let (found, expected) = (flat(found)?, flat(expected)?);
    let largest = expected.iter().fold(1e-30_f64, |largest, x| largest.max(x.abs()));
    Ok(worst(found.iter().zip(&expected).map(|(found, expected)| (found - expected).abs() / largest)))
}

/// Largest distance of a gradient from central differences of the weighted sum, at some of its elements.
fn distance_from_slopes(
    op: &impl Fn(&[Traced]) -> Result<Traced>,
    inputs: &[Tensor],
    which: usize,
    gradient: &[f64],
) -> Result<f64> {
    let largest = gradient.iter().fold(1., |largest: f64, x| largest.max(x.abs()));
    let values = flat(&inputs[which])?;
    let moved = |i: usize, by: f64| -> Result<f64> {
        let mut values = values.clone();
        values[i] += by;
        let mut inputs: Vec<Traced> = inputs.iter().map(Traced::from).collect();
        inputs[which] = Tensor::from_vec(values, inputs[which].dims(), &Device::Cpu)?.into();
        let y = op(&inputs)?.value().clone();
        (&y * weights_of_sum(&y)?)?.sum_all()?.to_scalar()
    };
    let places = (0..values.len()).step_by(values.len().div_ceil(SAMPLES).max(1));
    let slopes = places.map(|i| Ok((i, (moved(i, STEP)? - moved(i, -STEP)?) / (2. * STEP))));
    let slopes = slopes.collect::<Result<Vec<_>>>()?;
    Ok(worst(slopes.into_iter().map(|(i, slope)| (slope - gradient[i]).abs() / largest)))
}

/// The largest number; one that is not a number counts as larger than all.
fn worst(errors: impl Iterator<Item = f64>) -> f64 {
    errors.fold(0., |worst, error| if error.is_nan() || error > worst { error } else { worst })
}
