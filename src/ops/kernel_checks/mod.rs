//! Every op on random input on a device, against the same op in f64 on the CPU: results and gradients.
//!
//! For machines whose device no test of ours has seen. The ops' own tests hold the CPU against the references.

mod cases;

use candle_core::{DType, Device, Result, Tensor, Var};

use super::base::check::{flat, normal, outputs};
use super::{AdamwParam, AdamwStep, Clip, MuonParam, MuonStep, adamw_all, global_norm, muon_all};
use cases::cases;

/// Largest allowed distance as a share of the norm of the CPU's result. f32 sums of some thousand terms in
/// another order, with exponentials of 2 units in the last place: 2^-24 times some hundred. bf16 keeps 8 bits,
/// 2^-9 for each of the handful of roundings between input and gradient.
const ALLOWED: [(DType, f64); 2] = [(DType::F32, 3e-5), (DType::BF16, 2e-2)];

/// How one op fared.
#[derive(Clone, Debug)]
pub struct KernelCheck {
    /// Op, sizes, and whether it is the result or a gradient that is furthest off.
    pub op: String,
    /// Type of the elements.
    pub dtype: DType,
    /// Norm of the difference over the norm of the CPU's result, of the worst tensor.
    pub error: f64,
    /// What it may be.
    pub allowed: f64,
}

impl KernelCheck {
    /// Whether the error is allowed; one that is not a number never is.
    pub fn passes(&self) -> bool {
        self.error <= self.allowed
    }
}

/// Runs every op on the device, in f32 and on a GPU in bf16 too.
pub fn check_kernels(device: &Device) -> Result<Vec<KernelCheck>> {
    let mut checks = Vec::new();
    for (dtype, allowed) in ALLOWED {
        if dtype == DType::BF16 && !device.is_cuda() {
            continue;
        }
        for case in cases()? {
            // Both sides start from the same rounded numbers.
            let rounded = |input: &Tensor| input.to_dtype(dtype)?.to_dtype(DType::F64);
            let inputs = case.inputs.iter().map(rounded).collect::<Result<Vec<_>>>()?;
            let expected = outputs(&case.run, &inputs, DType::F64, &Device::Cpu)?;
            let found = outputs(&case.run, &inputs, dtype, device)?;
            let (mut error, mut op) = (0f64, case.op.clone());
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let distance = distance(found, expected)?;
                if distance.is_nan() || distance > error {
                    let part = if i == 0 { "result".into() } else { format!("gradient {i}") };
                    (error, op) = (distance, format!("{} {part}", case.op));
                }
            }
            checks.push(KernelCheck { op, dtype, error, allowed });
        }
    }
    // Updates are f32 whatever the model computes in.
    let [(dtype, allowed), _] = ALLOWED;
    for (op, error) in [("adamw", adamw_error(device)?), ("muon", muon_error(device)?)] {
        checks.push(KernelCheck { op: format!("{op} of all, clipped"), dtype, error, allowed });
    }
    Ok(checks)
}

/// Norm of the difference over the norm of what was expected.
fn distance(found: &Tensor, expected: &Tensor) -> Result<f64> {
    let (found, expected) = (flat(found)?, flat(expected)?);
    if found.len() != expected.len() {
        return Ok(f64::INFINITY);
    }
    let squares: f64 = found.iter().zip(&expected).map(|(f, e)| (f - e) * (f - e)).sum();
    let norm: f64 = expected.iter().map(|e| e * e).sum();
    Ok((squares / norm.max(f64::MIN_POSITIVE)).sqrt())
}

/// The distance of parameters and moments after four updates by AdamW from the CPU's in f64.
fn adamw_error(device: &Device) -> Result<f64> {
    let shapes = [&[170, 230][..], &[7], &[3, 5], &[20_000]];
    updates_error(device, &shapes, &[2], |step, tensors, clip| {
        let line = |(param, moments, grad)| AdamwParam {
            param,
            copy: None,
            moments,
            grad,
            update: AdamwStep {
                learning_rate: 0.1,
                beta1: 0.9,
                beta2: 0.99,
                eps: 1e-3,
                weight_decay: 0.5,
                step,
                grad_scale: 1.,
            },
        };
        adamw_all(&tensors.map(line).collect::<Vec<_>>(), clip)
    })
}

/// The same of updates by Muon.
fn muon_error(device: &Device) -> Result<f64> {
    let shapes = [&[170, 230][..], &[230, 170], &[1, 7], &[16, 16]];
    updates_error(device, &shapes, &[], |_, tensors, clip| {
        let update = MuonStep { learning_rate: 0.1, momentum: 0.9, weight_decay: 0.5, grad_scale: 1. };
        let line = |(param, momentum, grad)| MuonParam { param, copy: None, momentum, grad, update };
        muon_all(&tensors.map(line).collect::<Vec<_>>(), clip)
    })
}

/// What is updated: parameter, moments, gradient.
type Updated<'a> = (&'a Var, &'a Tensor, &'a Tensor);

/// The distance of parameters and moments, which have `count` before the dimensions of the parameter, after four updates
/// from the CPU's in f64. `update` is given the number of the update.
fn updates_error(
    device: &Device,
    shapes: &[&[usize]],
    count: &[usize],
    update: impl Fn(u64, &mut dyn Iterator<Item = Updated>, &Clip) -> Result<()>,
) -> Result<f64> {
    let run = |dtype: DType, device: &Device| -> Result<Vec<Tensor>> {
        let of = |name: &str| -> Result<Vec<Tensor>> {
            let of = |shape: &&[usize]| normal(name, shape)?.to_dtype(dtype)?.to_device(device);
            shapes.iter().map(of).collect()
        };
        let params = of("param")?.iter().map(Var::from_tensor).collect::<Result<Vec<_>>>()?;
        let zeros = |shape: &&[usize]| Tensor::zeros([count, *shape].concat(), dtype, device);
        let moments = shapes.iter().map(zeros).collect::<Result<Vec<_>>>()?;
        let halted = match device.is_cuda() {
            true => Some(Tensor::zeros(1, DType::U32, device)?),
            false => None,
        };
        for step in 1..=4 {
            let scale = step as f64 - 2.5;
            let grads = of("grad")?.iter().map(|grad| grad * scale).collect::<Result<Vec<_>>>()?;
            let norm = global_norm(&grads.iter().collect::<Vec<_>>())?;
            let loss = Tensor::zeros((), DType::F64, device)?;
            let clip = Clip { loss: &loss, norm: &norm, max_norm: 100., halted: halted.as_ref() };
            let mut updated = params.iter().zip(&moments).zip(&grads).map(|((p, m), g)| (p, m, g));
            update(step, &mut updated, &clip)?;
        }
        Ok(params.iter().map(|param| param.as_detached_tensor()).chain(moments).collect())
    };
    let (found, expected) = (run(DType::F32, device)?, run(DType::F64, &Device::Cpu)?);
    let mut error = 0f64;
    for (found, expected) in found.iter().zip(&expected) {
        error = error.max(distance(found, expected)?);
    }
    Ok(error)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::check_kernels;

    #[test]
    fn every_op_passes_on_the_cpu() {
        for check in check_kernels(&Device::Cpu).unwrap() {
            assert!(check.passes(), "{check:?}");
        }
    }
}
