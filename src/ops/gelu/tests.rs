use candle_core::{DType, Device, Result, Tensor};

use super::super::base::testing::{Tolerance, assert_close, assert_error, check, flat, seeded};
use super::reference;

fn gelu(x: &Tensor) -> Result<Tensor> {
    super::gelu(&x.into()).map(|y| y.value().clone())
}

#[test]
fn agrees_with_the_reference() {
    for shape in [&[1][..], &[3, 7], &[2, 5, 33], &[130, 150]] {
        let x = (seeded("x", shape) * 2.).unwrap();
        check(&[x], |x| super::gelu(&x[0]), |x| reference::gelu(&x[0]));
    }
}

#[test]
fn huge_inputs_pass_or_block() {
    let x = Tensor::new(&[1e4f32, -1e4, 0., 1e10, -1e10], &Device::Cpu).unwrap();
    assert_eq!(flat(&gelu(&x).unwrap()), [1e4, 0., 0., 1e10, 0.]);
}

#[test]
fn has_the_values_of_its_formula() {
    // y(1) = (1 + tanh(sqrt(2 / pi) 1.044715)) / 2 and y(-1) = y(1) - 1, computed with 40 digits.
    const GELU_OF_1: f64 = 0.841_191_990_608_276_7;
    let y = gelu(&Tensor::new(&[1f64, -1.], &Device::Cpu).unwrap()).unwrap();
    let expected = Tensor::new(&[GELU_OF_1, GELU_OF_1 - 1.], &Device::Cpu).unwrap();
    assert_close("gelu(1), gelu(-1)", &y, &expected, Tolerance::F64);
}

#[test]
fn other_dtypes_are_errors() {
    let half = Tensor::zeros(3, DType::BF16, &Device::Cpu).unwrap();
    assert_error(gelu(&half), &["gelu", "f32", "bf16"]);
}
