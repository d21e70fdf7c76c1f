use candle_core::{DType, Device, Result, Tensor, Var};

use super::super::base::tape::GradientSums;
use super::super::base::testing::{Tolerance, assert_close, assert_error, check, flat, seeded};
use super::{IGNORE_INDEX, reference};

fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    super::cross_entropy(&logits.into(), targets).map(|losses| losses.value().clone())
}

/// The losses, and the gradient of their sum.
fn with_gradient(logits: &Var, targets: &Tensor) -> (Tensor, Tensor) {
    let losses = super::cross_entropy(&logits.as_tensor().into(), targets).unwrap();
    let mut gradients = GradientSums::default();
    gradients.backward_from(&losses, losses.value().ones_like().unwrap()).unwrap();
    (losses.value().clone(), gradients.remove(logits).unwrap().unwrap())
}

fn targets(values: Vec<u32>) -> Tensor {
    let len = values.len();
    Tensor::from_vec(values, len, &Device::Cpu).unwrap()
}

#[test]
fn agrees_with_the_reference() {
    for (rows, vocab_size) in [(1, 1), (3, 2), (7, 33), (40, 1025)] {
        let logits = seeded("logits", &[rows, vocab_size]);
        let targets = targets((0..rows).map(|row| (row * 7 % vocab_size) as u32).collect());
        check(
            &[logits],
            |x| super::cross_entropy(&x[0], &targets),
            |x| reference::cross_entropy(&x[0], &targets),
        );
    }
}

#[test]
fn ignored_rows_have_neither_loss_nor_gradient() {
    let logits = seeded("logits", &[3, 50]);
    let targets = targets(vec![4, IGNORE_INDEX, 49]);
    check(
        std::slice::from_ref(&logits),
        |x| super::cross_entropy(&x[0], &targets),
        |x| reference::cross_entropy(&x[0], &targets),
    );
    let logits = Var::from_tensor(&logits).unwrap();
    let (losses, gradient) = with_gradient(&logits, &targets);
    assert_eq!(flat(&losses)[1], 0.);
    assert!(flat(&gradient.get(1).unwrap()).iter().all(|&x| x == 0.));
}

#[test]
fn huge_logits_stay_finite() {
    let logits = (seeded("logits", &[5, 40]) * 1e4).unwrap().to_dtype(DType::F32).unwrap();
    let logits = Var::from_tensor(&logits).unwrap();
    let targets = targets(vec![0, 1, 2, 3, 39]);
    let (losses, gradient) = with_gradient(&logits, &targets);
    let expected = reference::cross_entropy(&logits, &targets).unwrap();
    let expected_gradient = expected.sum_all().unwrap().backward().unwrap().remove(&logits).unwrap();
    assert_close("losses", &losses, &expected, Tolerance::F32);
    // The log-sum-exp is as coarse as the logits: 2^-24 of 3e4 is an error of 2e-3 in the exponent.
    assert_close("gradient", &gradient, &expected_gradient, 4e-3);
}

#[test]
fn equal_logits_cost_the_logarithm_of_the_vocabulary() {
    let losses =
        cross_entropy(&Tensor::ones((2, 256), DType::F32, &Device::Cpu).unwrap(), &targets(vec![0, 9]));
    assert!(flat(&losses.unwrap()).iter().all(|loss| (loss - 256f64.ln()).abs() < 1e-6));
}

#[test]
fn wrong_arguments_are_errors() {
    let logits = Tensor::zeros((2, 5), DType::F32, &Device::Cpu).unwrap();
    let outside = targets(vec![0, 5]);
    assert_error(cross_entropy(&logits, &outside), &["cross_entropy", "size 5", "got 5"]);
    assert_error(cross_entropy(&logits, &targets(vec![0])), &["cross_entropy", "targets", "[2]", "[1]"]);
    assert_error(cross_entropy(&logits.get(0).unwrap(), &outside), &["cross_entropy", "(N, V)", "[5]"]);
    let wide = outside.to_dtype(DType::I64).unwrap();
    assert_error(cross_entropy(&logits, &wide), &["cross_entropy", "u32", "i64"]);
    let half = logits.to_dtype(DType::F16).unwrap();
    assert_error(cross_entropy(&half, &targets(vec![0, 1])), &["cross_entropy", "f32", "f16"]);
}
