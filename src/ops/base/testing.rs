//! What every op's tests do: compare the fused op with its reference and with central differences.

use candle_core::{DType, Device, Result, Tensor, Var};
use rand_distr::{Distribution, StandardNormal};

use super::tape::{GradientSums, Traced};
use crate::rng::stream;

/// Largest error relative to the largest element of the expected tensor.
pub struct Tolerance;

impl Tolerance {
    /// Two orders of summation in f32, sums of up to a few thousand terms: 2^-24 times some hundred.
    pub const F32: f64 = 1e-5;
    /// The same in f64 (2^-53), with room for a division or two.
    pub const F64: f64 = 1e-13;
    /// Central differences: step 1e-5, so 1e-10 from the third derivative and as much from rounding,
    /// times derivatives of order 10 to 100.
    pub const DIFFERENCES: f64 = 1e-7;

    fn of(dtype: DType) -> f64 {
        if dtype == DType::F32 { Self::F32 } else { Self::F64 }
    }
}

/// Standard normal numbers, f64, the same for the same name and shape.
pub fn seeded(name: &str, shape: &[usize]) -> Tensor {
    let mut random = stream(7, name, &[]);
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| StandardNormal.sample(&mut random)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
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
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Every check of a differentiable op at one set of f64 inputs, all of which get gradients: forward and
/// backward against the reference in f32 and f64, backward against central differences, strided inputs, a
/// second backward pass onto the first one's gradients, and the same bits in a second run and on another
/// number of threads.
pub fn check<F, R>(inputs: &[Tensor], fused: F, reference: R)
where
    F: Fn(&[Traced]) -> Result<Traced> + Sync,
    R: Fn(&[Tensor]) -> Result<Tensor>,
{
    for dtype in [DType::F32, DType::F64] {
        let (y, gradients) = run(inputs, dtype, &fused);
        let (expected, expected_gradients) = run_reference(inputs, dtype, &reference);
        let tolerance = Tolerance::of(dtype);
        assert_close("forward", &y, &expected, tolerance);
        for (i, (got, expected)) in gradients.iter().zip(&expected_gradients).enumerate() {
            assert_close(&format!("{} gradient of input {i}", dtype.as_str()), got, expected, tolerance);
        }
        check_bits(&format!("{} second run", dtype.as_str()), &run(inputs, dtype, &fused), &y, &gradients);
        let threads = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let again = threads.install(|| run(inputs, dtype, &fused));
        check_bits("three threads", &again, &y, &gradients);
        let strided: Vec<Tensor> = inputs.iter().map(not_contiguous).collect();
        check_bits("strided inputs", &run(&strided, dtype, &fused), &y, &gradients);
    }
    check_differences(inputs, &fused);
}

fn check_bits(what: &str, (y, gradients): &(Tensor, Vec<Tensor>), y_0: &Tensor, gradients_0: &[Tensor]) {
    let bits = |tensor: &Tensor| flat(tensor).into_iter().map(f64::to_bits).collect::<Vec<_>>();
    assert!(bits(y) == bits(y_0), "{what}: other bits in the result");
    for (i, (a, b)) in gradients.iter().zip(gradients_0).enumerate() {
        assert!(bits(a) == bits(b), "{what}: other bits in the gradient of input {i}");
    }
}

/// The same elements in memory of another order.
fn not_contiguous(tensor: &Tensor) -> Tensor {
    let padded = Tensor::cat(&[tensor, tensor], tensor.rank() - 1).unwrap();
    padded.narrow(tensor.rank() - 1, 0, tensor.dim(tensor.rank() - 1).unwrap()).unwrap()
}

type Fused<'a> = &'a dyn Fn(&[Traced]) -> Result<Traced>;

/// The result, and the gradients of a fixed weighting of its elements.
fn run(inputs: &[Tensor], dtype: DType, op: Fused) -> (Tensor, Vec<Tensor>) {
    let inputs: Vec<Tensor> = inputs.iter().map(|input| input.to_dtype(dtype).unwrap()).collect();
    let vars: Vec<Var> = inputs.iter().map(|input| Var::from_tensor(input).unwrap()).collect();
    // Keeps the strides of the input, which a Var would lose.
    let traced: Vec<Traced> = vars.iter().zip(&inputs).map(|(var, input)| traced_as(var, input)).collect();
    let mut gradients = GradientSums::default();
    let y = op(&traced).unwrap();
    gradients.backward_from(&y, weights_of_sum(y.value())).unwrap();
    let first: Vec<Tensor> =
        vars.iter().map(|var| gradients.remove(var).unwrap().expect("no gradient").copy().unwrap()).collect();
    // The same gradients twice over are double the gradients.
    for _ in 0..2 {
        let y = op(&traced).unwrap();
        gradients.backward_from(&y, weights_of_sum(y.value())).unwrap();
    }
    for (var, first) in vars.iter().zip(&first) {
        let twice = gradients.remove(var).unwrap().expect("no gradient");
        assert_close("two backward passes", &twice, &(first * 2.).unwrap(), Tolerance::of(dtype));
    }
    (y.value().clone(), first)
}

/// The variable, with its elements laid out as those of `like`.
fn traced_as(var: &Var, like: &Tensor) -> Traced {
    let traced = Traced::from(var.as_tensor());
    if like.is_contiguous() { traced } else { traced.with_value(not_contiguous(traced.value())) }
}

/// As `run`, by candle.
fn run_reference(
    inputs: &[Tensor],
    dtype: DType,
    op: &dyn Fn(&[Tensor]) -> Result<Tensor>,
) -> (Tensor, Vec<Tensor>) {
    let vars: Vec<Var> =
        inputs.iter().map(|input| Var::from_tensor(&input.to_dtype(dtype).unwrap()).unwrap()).collect();
    let y = op(&vars.iter().map(|var| var.as_tensor().clone()).collect::<Vec<_>>()).unwrap();
    let gradients = (&y * weights_of_sum(&y)).unwrap().sum_all().unwrap().backward().unwrap();
    let gradients = vars.iter().map(|var| gradients.get(var).expect("no gradient").clone()).collect();
    (y, gradients)
}

fn weights_of_sum(y: &Tensor) -> Tensor {
    seeded("weights of the sum", y.dims()).to_dtype(y.dtype()).unwrap()
}

fn check_differences(inputs: &[Tensor], op: Fused) {
    const STEP: f64 = 1e-5;
    const SAMPLES: usize = 24;
    let loss = |inputs: &[Tensor]| {
        let traced: Vec<Traced> = inputs.iter().map(Traced::from).collect();
        let y = op(&traced).unwrap().value().clone();
        flat(&(&y * weights_of_sum(&y)).unwrap().sum_all().unwrap())[0]
    };
    let (_, gradients) = run(inputs, DType::F64, op);
    for (which, gradient) in gradients.iter().enumerate() {
        let gradient = flat(gradient);
        let largest = gradient.iter().fold(1., |largest: f64, x| largest.max(x.abs()));
        let values = flat(&inputs[which]);
        for i in (0..values.len()).step_by(values.len().div_ceil(SAMPLES)) {
            let moved = |by: f64| {
                let mut values = values.clone();
                values[i] += by;
                let mut inputs = inputs.to_vec();
                inputs[which] = Tensor::from_vec(values, inputs[which].shape(), &Device::Cpu).unwrap();
                loss(&inputs)
            };
            let slope = (moved(STEP) - moved(-STEP)) / (2. * STEP);
            let error = (slope - gradient[i]).abs() / largest;
            assert!(
                error <= Tolerance::DIFFERENCES,
                "input {which}[{i}]: gradient {}, central difference {slope}",
                gradient[i]
            );
        }
    }
}
