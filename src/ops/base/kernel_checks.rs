//! Every op on random input on a device, against the same op in f64 on the CPU: results and gradients.
//!
//! For machines whose device no test of ours has seen. The ops' own tests hold the CPU against the references.

use candle_core::{DType, Device, Result, Tensor, Var};
use rand_distr::{Distribution, StandardNormal};

use super::super::*;
use super::tape::{GradientSums, Traced};
use crate::rng::{key, stream};

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

type Op = Box<dyn Fn(&[Traced]) -> Result<Traced>>;

struct Case {
    op: String,
    /// f64, on the CPU; all get gradients.
    inputs: Vec<Tensor>,
    run: Op,
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
    // The update is f32 whatever the model computes in.
    let (error, allowed) = (adamw_error(device)?, ALLOWED[0].1);
    checks.push(KernelCheck { op: "adamw of all, clipped".into(), dtype: DType::F32, error, allowed });
    Ok(checks)
}

/// The result of an op, and the gradients of a fixed weighting of its elements.
fn outputs(op: &Op, inputs: &[Tensor], dtype: DType, device: &Device) -> Result<Vec<Tensor>> {
    let variable = |input: &Tensor| Var::from_tensor(&input.to_dtype(dtype)?.to_device(device)?);
    let variables = inputs.iter().map(variable).collect::<Result<Vec<_>>>()?;
    let traced: Vec<Traced> = variables.iter().map(|variable| variable.as_tensor().into()).collect();
    let y = op(&traced)?;
    let weights = normal("weights", y.dims())?.to_dtype(y.dtype())?.to_device(device)?;
    let mut gradients = GradientSums::default();
    gradients.backward_from(&y, weights)?;
    let mut outputs = vec![y.value().clone()];
    for variable in &variables {
        match gradients.remove(variable)? {
            Some(gradient) => outputs.push(gradient),
            None => candle_core::bail!("an input got no gradient"),
        }
    }
    Ok(outputs)
}

fn distance(found: &Tensor, expected: &Tensor) -> Result<f64> {
    let flat = |x: &Tensor| x.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
    let (found, expected) = (flat(found)?, flat(expected)?);
    if found.len() != expected.len() {
        return Ok(f64::INFINITY);
    }
    let squares: f64 = found.iter().zip(&expected).map(|(f, e)| (f - e) * (f - e)).sum();
    let norm: f64 = expected.iter().map(|e| e * e).sum();
    Ok((squares / norm.max(f64::MIN_POSITIVE)).sqrt())
}

/// Standard normal numbers, the same for the same name and shape.
fn normal(name: &str, shape: &[usize]) -> Result<Tensor> {
    let mut random = stream(11, name, &[]);
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| StandardNormal.sample(&mut random)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

/// Each op at sizes whose rows can be read 16 bytes at a time, and at odd ones.
fn cases() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    let mut add_case = |op: String, shapes: &[&[usize]], run: Op| -> Result<()> {
        let inputs = shapes.iter().enumerate().map(|(i, shape)| normal(&format!("{op} {i}"), shape));
        let inputs = inputs.collect::<Result<_>>()?;
        cases.push(Case { op, inputs, run });
        Ok(())
    };
    for (rows, columns) in [(603, 768), (7, 33), (2, 2048)] {
        let (x, of) = ([rows, columns], format!("{rows} x {columns}"));
        let norm: Op = Box::new(|t| rms_norm(&t[0], &t[1], 1e-5));
        add_case(format!("rms_norm {of}"), &[&x, &[columns]], norm)?;
        let norm: Op = Box::new(|t| layer_norm(&t[0], &t[1], &t[2], 1e-5));
        add_case(format!("layer_norm {of}"), &[&x, &[columns], &[columns]], norm)?;
        add_case(format!("gelu {of}"), &[&x], Box::new(|t| gelu(&t[0])))?;
        add_case(format!("swiglu {of}"), &[&[rows, 2 * columns]], Box::new(|t| swiglu(&t[0])))?;
        add_case(format!("add {of}"), &[&x, &x], Box::new(|t| add(&t[0], &t[1], None)))?;
        let masked: Op = Box::new(|t| {
            let mask = normal("mask", t[1].dims())?.to_dtype(t[1].dtype())?.to_device(t[1].device())?;
            add(&t[0], &t[1], Some(&mask))
        });
        add_case(format!("add of masked {of}"), &[&x, &x], masked)?;
        let dropped: Op = Box::new(|t| {
            let x = t[0].value();
            let mask = dropout_mask(key(3, "mask", &[]), 0.3, x.dims(), x.dtype(), x.device())?;
            multiply(&t[0], &mask)
        });
        add_case(format!("dropout_mask {of}"), &[&x], dropped)?;
    }
    for (rows, half) in [(130, 32), (9, 5)] {
        let run: Op = Box::new(move |t| {
            let x = &t[0];
            let angles = normal("angles", &[70, half])?;
            // Half-precision rows are rotated by angles of f32.
            let dtype = if x.dtype() == DType::BF16 { DType::F32 } else { x.dtype() };
            let table = |table: Tensor| table.to_dtype(dtype)?.to_device(x.device());
            let at: Vec<u32> = (0..rows as u32).map(|row| row * 5 % 70).collect();
            rope(x, &upload(&at, rows, x.device())?, &table(angles.cos()?)?, &table(angles.sin()?)?, 3)
        });
        add_case(format!("rope {rows} x 4 x {}", 2 * half), &[&[rows, 8 * half]], run)?;
    }
    for (rows, i, o) in [(200, 64, 128), (11, 33, 17)] {
        let run: Op = Box::new(|t| linear(&t[0], &t[1..3], None, WeightLayout::OutIn));
        add_case(format!("linear {rows} x {i} to {o} | 8"), &[&[rows, i], &[o, i], &[8, i]], run)?;
        let run: Op = Box::new(|t| linear(&t[0], &t[1..2], Some(&t[2]), WeightLayout::InOut));
        add_case(format!("linear {rows} x {i} to {o} with bias"), &[&[rows, i], &[i, o], &[o]], run)?;
    }
    for (rows, vocab_size, columns) in [(3000, 500, 768), (40, 7, 5)] {
        // Half of the places have one id, as the commonest word of a text.
        let id =
            move |place: usize| if place.is_multiple_of(2) { 3 } else { (place * 13 % vocab_size) as u32 };
        let ids: Vec<u32> = (0..rows).map(id).collect();
        let run: Op = Box::new(move |t| embedding(&t[0], &upload(&ids, rows, t[0].device())?));
        add_case(format!("embedding {rows} of {vocab_size} x {columns}"), &[&[vocab_size, columns]], run)?;
    }
    for (rows, columns, vocab_size) in [(300, 64, 1003), (7, 3, 5)] {
        let target =
            move |row: usize| if row % 5 == 3 { IGNORE_INDEX } else { (row * 7 % vocab_size) as u32 };
        let targets: Vec<u32> = (0..rows).map(target).collect();
        let of = targets.clone();
        let run: Op =
            Box::new(move |t| head_cross_entropy(&t[0], &t[1], &upload(&of, rows, t[0].device())?, 0.25));
        let name = format!("head_cross_entropy {rows} x {columns} x {vocab_size}");
        add_case(name, &[&[rows, columns], &[vocab_size, columns]], run)?;
        let run: Op = Box::new(move |t| cross_entropy(&t[0], &upload(&targets, rows, t[0].device())?));
        add_case(format!("cross_entropy {rows} x {vocab_size}"), &[&[rows, vocab_size]], run)?;
    }
    for which in [Pool::Last, Pool::Mean, Pool::Concat] {
        let run: Op = Box::new(move |t| pool(&t[0], &[3, 1, 70], which));
        add_case(format!("pool {which:?}"), &[&[74, 300]], run)?;
    }
    for (lengths, heads, kv_heads, head_dim) in [
        (&[150usize, 1, 33][..], 4, 2, 32),
        (&[64, 64][..], 2, 2, 64),
        (&[90, 20][..], 2, 1, 128),
        (&[40][..], 3, 3, 24),
    ] {
        let rows = lengths.iter().sum();
        let run: Op = Box::new(move |t| attention(&t[0], lengths, heads, kv_heads));
        let name = format!("attention {lengths:?} x {heads}/{kv_heads} x {head_dim}");
        add_case(name, &[&[rows, (heads + 2 * kv_heads) * head_dim]], run)?;
    }
    Ok(cases)
}

/// The distance of parameters and moments after four updates from the CPU's in f64.
fn adamw_error(device: &Device) -> Result<f64> {
    let shapes = [&[170, 230][..], &[7], &[3, 5], &[20_000]];
    let run = |dtype: DType, device: &Device| -> Result<Vec<Tensor>> {
        let of = |name: &str| -> Result<Vec<Tensor>> {
            let of = |shape: &&[usize]| normal(name, shape)?.to_dtype(dtype)?.to_device(device);
            shapes.iter().map(of).collect()
        };
        let params = of("param")?.iter().map(Var::from_tensor).collect::<Result<Vec<_>>>()?;
        let zeros = |shape: &&[usize]| Tensor::zeros([&[2], *shape].concat(), dtype, device);
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
            let line = |i: usize| AdamwParam {
                param: &params[i],
                copy: None,
                moments: &moments[i],
                grad: &grads[i],
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
            let all: Vec<AdamwParam> = (0..shapes.len()).map(line).collect();
            let clip = Clip { loss: &loss, norm: &norm, max_norm: 100., halted: halted.as_ref() };
            adamw_all(&all, &clip)?;
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
