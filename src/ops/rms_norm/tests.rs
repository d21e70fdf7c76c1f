use candle_core::{DType, Device, Result, Tensor};

use super::super::base::testing::{assert_error, check, seeded};
use super::reference;

fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    super::rms_norm(&x.into(), &weight.into(), eps).map(|y| y.value().clone())
}

#[test]
fn agrees_with_the_reference() {
    // In the narrowest rows the gradient of x is the small difference of large terms unless eps is large.
    let narrow = [(&[1, 1][..], 0.5), (&[3, 1], 0.5), (&[3], 0.5)];
    let wide = [(&[5, 7][..], 1e-5), (&[2, 3, 33], 1e-5), (&[200, 130], 1e-5)];
    for (shape, eps) in narrow.into_iter().chain(wide) {
        let inputs = [seeded("x", shape), seeded("weight", &shape[shape.len() - 1..])];
        check(&inputs, |x| super::rms_norm(&x[0], &x[1], eps), |x| reference::rms_norm(&x[0], &x[1], eps));
    }
}

#[test]
fn rows_of_zeros_and_huge_rows_stay_finite() {
    let ones = Tensor::ones(4, DType::F32, &Device::Cpu).unwrap();
    for (value, expected) in [(0., 0.), (1e15, 1.), (-1e15, -1.)] {
        let x = (Tensor::ones((1, 4), DType::F32, &Device::Cpu).unwrap() * value).unwrap();
        let y = rms_norm(&x, &ones, 1e-5).unwrap().to_vec2::<f32>().unwrap();
        assert!(y[0].iter().all(|y| (y - expected).abs() < 1e-6), "{y:?}");
    }
    let beyond = Tensor::full(1e20f32, (1, 4), &Device::Cpu).unwrap();
    let y = rms_norm(&beyond, &ones, 1e-5).unwrap().to_vec2::<f32>().unwrap();
    assert!(y[0].iter().all(|y| y.is_nan()), "squares that overflow are no zeros: {y:?}");
}

#[test]
fn wrong_arguments_are_errors() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let x = zeros(&[2, 3]);
    assert_error(rms_norm(&x, &zeros(&[2]), 1e-5), &["rms_norm", "weight", "[3]", "[2]"]);
    let wrong = zeros(&[3]).to_dtype(DType::F64).unwrap();
    assert_error(rms_norm(&x, &wrong, 1e-5), &["rms_norm", "weight", "f32", "f64"]);
    let half = |t: Tensor| t.to_dtype(DType::BF16).unwrap();
    assert_error(rms_norm(&half(x), &half(zeros(&[3])), 1e-5), &["rms_norm", "f32", "bf16"]);
}
