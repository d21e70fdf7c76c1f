//! What every op's tests do.

use candle_core::{DType, Result, Tensor, Var};

use super::check::{self, normal, weights_of_sum};
use super::tape::{GradientSums, Traced};

pub use super::check::Tolerance;

/// Standard normal numbers, f64, the same for the same name and shape.
pub fn seeded(name: &str, shape: &[usize]) -> Tensor {
    normal(name, shape).unwrap()
}

/// Fails unless `got` is `expected` within the tolerance, relative to the largest expected element.
pub fn assert_close(what: &str, got: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(got.dims(), expected.dims(), "{what}: shape");
    assert_eq!(got.dtype(), expected.dtype(), "{what}: dtype");
    let (got, expected) = (flat(got), flat(expected));
    let largest = expected.iter().fold(1e-30_f64, |largest, x| largest.max(x.abs()));
    for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
        let error = (got - expected).abs() / largest;
        assert!(error <= tolerance, "{what}[{i}]: got {got}, expected {expected}, error {error:.1e}");
    }
}

/// Fails unless the call is an error whose text has all these parts.
pub fn assert_error(result: Result<Tensor>, parts: &[&str]) {
    let text = result.expect_err("the call must fail").to_string();
    for part in parts {
        assert!(text.contains(part), "expected {part:?} in: {text}");
    }
}

/// The numbers of a float tensor as f64.
pub fn flat(tensor: &Tensor) -> Vec<f64> {
    check::flat(tensor).unwrap()
}

/// Every check of a differentiable op at one set of f64 inputs, all of which get gradients: forward and backward
/// against the reference in f32 and f64, backward against central differences, strided inputs, further backward
/// passes onto the first one's gradients, and the same bits in a second run and on another number of threads.
pub fn check<F, R>(inputs: &[Tensor], fused: F, reference: R)
where
    F: Fn(&[Traced]) -> Result<Traced> + Sync,
    R: Fn(&[Tensor]) -> Result<Tensor>,
{
    for check in check::check(inputs, &fused, reference).unwrap() {
        assert!(check.passes(), "{check}");
    }
    for (dtype, tolerance) in [(DType::F32, Tolerance::F32), (DType::F64, Tolerance::F64)] {
        let first = run(inputs, dtype, &fused, 1);
        assert_bits("second run", &run(inputs, dtype, &fused, 1), &first);
        let threads = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert_bits("three threads", &threads.install(|| run(inputs, dtype, &fused, 1)), &first);
        let strided: Vec<Tensor> = inputs.iter().map(not_contiguous).collect();
        assert_bits("strided inputs", &run(&strided, dtype, &fused, 1), &first);
        // The same gradients twice over are double the gradients.
        for (twice, once) in run(inputs, dtype, &fused, 2)[1..].iter().zip(&first[1..]) {
            assert_close("two backward passes", twice, &(once * 2.).unwrap(), tolerance);
        }
    }
}

fn assert_bits(what: &str, found: &[Tensor], expected: &[Tensor]) {
    let bits = |tensor: &Tensor| flat(tensor).into_iter().map(f64::to_bits).collect::<Vec<_>>();
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(bits(found) == bits(expected), "{what}: other bits in output {i}, of result and gradients");
    }
}

/// The same elements in memory of another order.
fn not_contiguous(tensor: &Tensor) -> Tensor {
    let padded = Tensor::cat(&[tensor, tensor], tensor.rank() - 1).unwrap();
    padded.narrow(tensor.rank() - 1, 0, tensor.dim(tensor.rank() - 1).unwrap()).unwrap()
}

/// The result, and the gradients of so many backward passes, from inputs with the strides that they have.
fn run(
    inputs: &[Tensor],
    dtype: DType,
    op: impl Fn(&[Traced]) -> Result<Traced>,
    passes: usize,
) -> Vec<Tensor> {
    let vars: Vec<Var> =
        inputs.iter().map(|input| Var::from_tensor(&input.to_dtype(dtype).unwrap()).unwrap()).collect();
    // A Var is contiguous.
    let traced = vars.iter().zip(inputs).map(|(var, input)| {
        let traced = Traced::from(var.as_tensor());
        if input.is_contiguous() { traced } else { traced.with_value(not_contiguous(traced.value())) }
    });
    let traced: Vec<Traced> = traced.collect();
    let mut gradients = GradientSums::default();
    let mut outputs = Vec::new();
    for _ in 0..passes {
        let y = op(&traced).unwrap();
        gradients.backward_from(&y, weights_of_sum(y.value()).unwrap()).unwrap();
        outputs = vec![y.value().clone()];
    }
    outputs.extend(vars.iter().map(|var| gradients.remove(var).unwrap().expect("no gradient")));
    outputs
}
