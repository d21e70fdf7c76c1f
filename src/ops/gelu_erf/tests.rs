use candle_core::{DType, Device, Result, Tensor};

use super::super::base::testing::{Tolerance, assert_close, assert_error, check, flat, seeded};
use super::reference;

fn gelu_erf(x: &Tensor) -> Result<Tensor> {
    super::gelu_erf(&x.into()).map(|y| y.value().clone())
}

#[test]
fn agrees_with_the_reference() {
    for shape in [&[1][..], &[3, 7], &[2, 5, 33], &[130, 150]] {
        let x = (seeded("x", shape) * 2.).unwrap();
        check(&[x], |x| super::gelu_erf(&x[0]), |x| reference::gelu_erf(&x[0]));
    }
}

#[test]
fn huge_inputs_pass_or_block() {
    let x = Tensor::new(&[1e4f32, -1e4, 0., 1e10, -1e10], &Device::Cpu).unwrap();
    assert_eq!(flat(&gelu_erf(&x).unwrap()), [1e4, 0., 0., 1e10, 0.]);
}

#[test]
fn has_the_values_of_its_formula() {
    // P(1) of the standard normal; P(-1) = 1 - P(1). Source: NIST DLMF table 7.21, erf(1 / sqrt(2)) = 0.682689492137.
    const AT_1: f64 = 0.841_344_746_068_542_9;
    let y = gelu_erf(&Tensor::new(&[1f64, -1.], &Device::Cpu).unwrap()).unwrap();
    let expected = Tensor::new(&[AT_1, AT_1 - 1.], &Device::Cpu).unwrap();
    assert_close("gelu_erf(1), gelu_erf(-1)", &y, &expected, Tolerance::F64);
}

#[test]
fn other_dtypes_are_errors() {
    let half = Tensor::zeros(3, DType::BF16, &Device::Cpu).unwrap();
    assert_error(gelu_erf(&half), &["gelu_erf", "f32", "bf16"]);
}
