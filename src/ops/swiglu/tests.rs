use candle_core::{DType, Device, Result, Tensor};

use super::super::base::testing::{assert_error, check, flat, seeded};
use super::reference;

fn swiglu(gate_up: &Tensor) -> Result<Tensor> {
    super::swiglu(&gate_up.into()).map(|y| y.value().clone())
}

#[test]
fn agrees_with_the_reference() {
    for shape in [&[2][..], &[1, 2], &[3, 14], &[2, 5, 66], &[90, 402]] {
        let gate_up = (seeded("gate_up", shape) * 3.).unwrap();
        check(&[gate_up], |x| super::swiglu(&x[0]), |x| reference::swiglu(&x[0]));
    }
}

#[test]
fn huge_gates_pass_or_block() {
    let gate_up = Tensor::new(&[[1e4f32, -1e4, 2., 3.]], &Device::Cpu).unwrap();
    assert_eq!(flat(&swiglu(&gate_up).unwrap()), [2e4, 0.]);
}

#[test]
fn wrong_arguments_are_errors() {
    let zeros = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
    assert_error(swiglu(&zeros), &["swiglu", "(.., 2I)", "[2, 3]"]);
    assert_error(swiglu(&zeros.sum_all().unwrap()), &["swiglu", "scalar"]);
    let half = Tensor::zeros((2, 4), DType::F16, &Device::Cpu).unwrap();
    assert_error(swiglu(&half), &["swiglu", "f32", "f16"]);
}
