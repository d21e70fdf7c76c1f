use candle_core::{DType, Device, Result, Tensor};

use super::super::base::testing::{Tolerance, assert_close, assert_error, check, seeded};
use super::reference;

fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    super::layer_norm(&x.into(), &weight.into(), &bias.into(), eps).map(|y| y.value().clone())
}

#[test]
fn agrees_with_the_reference() {
    // In the narrowest rows the gradient of x is the small difference of large terms unless eps is large.
    let narrow = [(&[1, 2][..], 0.5), (&[3, 2], 0.5), (&[3], 0.5)];
    let wide = [(&[5, 7][..], 1e-5), (&[2, 3, 33], 1e-5), (&[200, 130], 1e-5)];
    for (shape, eps) in narrow.into_iter().chain(wide) {
        let columns = &shape[shape.len() - 1..];
        let inputs = [seeded("x", shape), seeded("weight", columns), seeded("bias", columns)];
        check(
            &inputs,
            |x| super::layer_norm(&x[0], &x[1], &x[2], eps),
            |x| reference::layer_norm(&x[0], &x[1], &x[2], eps),
        );
    }
}

#[test]
fn a_far_mean_does_not_spoil_the_variance() {
    let x = seeded("x", &[4, 64]);
    let (ones, zeros) =
        (Tensor::ones(64, DType::F32, &Device::Cpu), Tensor::zeros(64, DType::F32, &Device::Cpu));
    let (ones, zeros) = (ones.unwrap(), zeros.unwrap());
    let far = (x + 4096.).unwrap().to_dtype(DType::F32).unwrap();
    let near = (&far - 4096.).unwrap(); // Exact: only the mean differs.
    let (far, near) = (layer_norm(&far, &ones, &zeros, 1e-5), layer_norm(&near, &ones, &zeros, 1e-5));
    assert_close("moved by 4096", &far.unwrap(), &near.unwrap(), 100. * Tolerance::F32);
}

#[test]
fn equal_elements_give_the_bias() {
    let (x, bias) = (Tensor::full(3f32, (2, 5), &Device::Cpu).unwrap(), seeded("bias", &[5]));
    let bias = bias.to_dtype(DType::F32).unwrap();
    let y = layer_norm(&x, &bias, &bias, 1e-5).unwrap();
    assert_close("constant rows", &y, &bias.broadcast_as((2, 5)).unwrap(), Tolerance::F32);
}

#[test]
fn wrong_arguments_are_errors() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let (x, weight) = (zeros(&[2, 3]), zeros(&[3]));
    assert_error(layer_norm(&x, &zeros(&[2]), &weight, 1e-5), &["layer_norm", "weight", "[3]", "[2]"]);
    assert_error(layer_norm(&x, &weight, &zeros(&[1, 3]), 1e-5), &["layer_norm", "bias", "[3]", "[1, 3]"]);
    let wrong = weight.to_dtype(DType::F64).unwrap();
    assert_error(layer_norm(&x, &weight, &wrong, 1e-5), &["layer_norm", "bias", "f32", "f64"]);
    let half = |t: &Tensor| t.to_dtype(DType::BF16).unwrap();
    let result = layer_norm(&half(&x), &half(&weight), &half(&weight), 1e-5);
    assert_error(result, &["layer_norm", "f32", "bf16"]);
}
