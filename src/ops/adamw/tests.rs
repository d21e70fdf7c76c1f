use candle_core::{DType, Device, Tensor, Var};

use super::super::base::testing::{Tolerance, assert_close, assert_error, flat, seeded};
use super::{AdamwStep, adamw, reference};

const UPDATE: AdamwStep = AdamwStep {
    learning_rate: 0.1,
    beta1: 0.9,
    beta2: 0.99,
    eps: 1e-8,
    weight_decay: 0.5,
    step: 1,
    grad_scale: 1.,
};

fn start(shape: &[usize], dtype: DType) -> (Var, Tensor, Tensor) {
    let param = Var::from_tensor(&seeded("param", shape).to_dtype(dtype).unwrap()).unwrap();
    let moments = Tensor::zeros([&[2], shape].concat(), dtype, &Device::Cpu).unwrap();
    (param, moments, seeded("grad", shape).to_dtype(dtype).unwrap())
}

#[test]
fn makes_the_step_computed_by_hand() {
    let param = Var::new(&[1f64, -2.], &Device::Cpu).unwrap();
    let moments = Tensor::zeros((2, 2), DType::F64, &Device::Cpu).unwrap();
    let grad = Tensor::new(&[4f64, -0.5], &Device::Cpu).unwrap();
    adamw(&param, &moments, &grad, &AdamwStep { grad_scale: 0.5, eps: 1., ..UPDATE }).unwrap();
    // Scaled gradients 2 and -0.25: m = 0.1 g = 0.2, -0.025; v = 0.01 g^2 = 0.04, 0.000625.
    let expected = Tensor::new(&[0.2, -0.025, 0.04, 0.000_625], &Device::Cpu).unwrap();
    assert_close("moments", &moments.flatten_all().unwrap(), &expected, Tolerance::F64);
    // Corrected they are g and g^2; p (1 - 0.1 * 0.5) - 0.1 g / (|g| + 1) with eps = 1.
    let expected = Tensor::new(&[0.95 - 0.2 / 3., -1.9 + 0.025 / 1.25], &Device::Cpu).unwrap();
    assert_close("param", param.as_tensor(), &expected, Tolerance::F64);
    // Second step, gradient 0: m = 0.18, v = 0.0396; corrections 0.19 and 0.0199.
    let zeros = grad.zeros_like().unwrap();
    adamw(&param, &moments, &zeros, &AdamwStep { step: 2, eps: 1., weight_decay: 0., ..UPDATE }).unwrap();
    let moved = 0.1 * (0.18 / 0.19) / ((0.0396f64 / 0.0199).sqrt() + 1.);
    assert!((flat(&param)[0] - (0.95 - 0.2 / 3. - moved)).abs() < 1e-14);
}

#[test]
fn agrees_with_the_reference_over_several_steps() {
    for (dtype, tolerance) in [(DType::F32, Tolerance::F32), (DType::F64, Tolerance::F64)] {
        for shape in [&[1][..], &[3, 7], &[130, 259]] {
            let (param, moments, grad) = start(shape, dtype);
            let (expected, expected_moments, _) = start(shape, dtype);
            for step in 1..=4 {
                let update = AdamwStep { step, grad_scale: 0.7, ..UPDATE };
                let grad = (&grad * (step as f64 - 2.5)).unwrap();
                adamw(&param, &moments, &grad, &update).unwrap();
                reference::adamw(&expected, &expected_moments, &grad, &update).unwrap();
            }
            assert_close("param", &param, &expected, tolerance);
            assert_close("moments", &moments, &expected_moments, tolerance);
        }
    }
}

#[test]
fn two_runs_and_a_strided_gradient_give_the_same_bits() {
    let run = |transposed: bool| {
        let (param, moments, grad) = start(&[170, 230], DType::F32);
        let grad = if transposed { grad.t().unwrap().contiguous().unwrap().t().unwrap() } else { grad };
        adamw(&param, &moments, &grad, &UPDATE).unwrap();
        (flat(&param), flat(&moments))
    };
    assert!(run(false) == run(false));
    assert!(run(false) == run(true));
}

#[test]
fn wrong_arguments_are_errors() {
    let (param, moments, grad) = start(&[2, 3], DType::F32);
    let call = |moments: &Tensor, grad: &Tensor, update: &AdamwStep| {
        adamw(&param, moments, grad, update).map(|()| grad.clone())
    };
    assert_error(call(&moments, &grad.t().unwrap(), &UPDATE), &["adamw", "grad", "[2, 3]", "[3, 2]"]);
    assert_error(call(&grad, &grad, &UPDATE), &["adamw", "moments", "[2, 2, 3]", "[2, 3]"]);
    let wrong = grad.to_dtype(DType::F64).unwrap();
    assert_error(call(&moments, &wrong, &UPDATE), &["adamw", "grad", "f32", "f64"]);
    let first = AdamwStep { step: 0, ..UPDATE };
    assert_error(call(&moments, &grad, &first), &["adamw", "from 1", "0"]);
    let strided = Tensor::zeros((3, 2, 2), DType::F32, &Device::Cpu).unwrap().transpose(0, 2).unwrap();
    assert_error(call(&strided, &grad, &UPDATE), &["adamw", "contiguous"]);
}
