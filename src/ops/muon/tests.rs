use candle_core::{DType, Device, Tensor, Var, safetensors};

use super::super::base::testing::{Tolerance, assert_close, assert_error, flat, seeded};
use super::reference::{self, Gate};
use super::{MuonStep, muon};

const UPDATE: MuonStep = MuonStep { learning_rate: 0.1, momentum: 0.9, weight_decay: 0.5, grad_scale: 0.7 };

/// Parameter, momentum and gradient.
fn start(shape: (usize, usize), dtype: DType) -> (Var, Tensor, Tensor) {
    let of = |name: &str| seeded(name, &[shape.0, shape.1]).to_dtype(dtype).unwrap();
    (Var::from_tensor(&of("param")).unwrap(), of("momentum"), of("grad"))
}

/// What one update moves a zero matrix by, for a step size of 1: the orthogonal direction, with the sign turned.
fn direction(grad: &Tensor) -> Tensor {
    let (rows, columns) = grad.dims2().unwrap();
    let learning_rate = 5. / (rows.max(columns) as f64).sqrt();
    let update = MuonStep { learning_rate, momentum: 0., weight_decay: 0., grad_scale: 1. };
    let param = Var::from_tensor(&grad.zeros_like().unwrap()).unwrap();
    muon(&param, &grad.zeros_like().unwrap(), grad, &update).unwrap();
    param.as_detached_tensor()
}

#[test]
fn three_steps_agree_with_numpy() {
    let bytes = include_bytes!("../../../tests/fixtures/golden_muon.safetensors");
    let golden = safetensors::load_buffer(bytes, &Device::Cpu).unwrap();
    let settings = flat(&golden["settings"]);
    let [learning_rate, momentum, weight_decay, grad_scale] = settings[..] else { panic!("{settings:?}") };
    let update = MuonStep { learning_rate, momentum, weight_decay, grad_scale };
    // The iteration squares condition numbers, which costs f64 a few digits and f32 as many.
    for (dtype, tolerance) in [(DType::F32, 1e-4), (DType::F64, 1e-11)] {
        for name in ["tall", "wide", "square", "row"] {
            let of = |part: &str| golden[&format!("{name}.{part}")].to_dtype(dtype).unwrap();
            let param = Var::from_tensor(&of("param")).unwrap();
            let momentum = param.zeros_like().unwrap();
            for step in 0..3 {
                muon(&param, &momentum, &of("grads").get(step).unwrap(), &update).unwrap();
                assert_close(name, &param, &of("params").get(step).unwrap(), tolerance);
                assert_close(name, &momentum, &of("momenta").get(step).unwrap(), tolerance);
            }
        }
    }
}

#[test]
fn the_direction_is_nearly_orthogonal_and_as_large_as_a_step_of_adamw() {
    for shape in [[40, 24], [24, 130], [32, 32], [1, 9], [9, 1]] {
        let grad = (seeded("grad", &shape) * 1e-3).unwrap();
        let direction = direction(&grad);
        let wide = if shape[0] > shape[1] { direction.t().unwrap() } else { direction.clone() };
        let gram = wide.matmul(&wide.t().unwrap()).unwrap();
        let short = shape[0].min(shape[1]);
        let distance = (gram - Tensor::eye(short, DType::F64, &Device::Cpu).unwrap()).unwrap();
        // Singular values of 0.68 to 1.13 have squares within 0.54 of 1.
        let rms = (flat(&distance).iter().map(|x| x * x).sum::<f64>() / short as f64).sqrt();
        assert!(rms < 0.54, "{shape:?}: {rms}");
        let along = (&direction * &grad).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
        assert!(along < 0., "{shape:?} moves uphill");
    }
}

#[test]
fn a_gradient_of_zero_moves_nothing_but_the_decay() {
    let (param, _, grad) = start((3, 5), DType::F64);
    let (before, zeros) = (flat(&param), grad.zeros_like().unwrap());
    muon(&param, &grad.zeros_like().unwrap(), &zeros, &UPDATE).unwrap();
    for (after, before) in flat(&param).iter().zip(before) {
        assert!((after - 0.95 * before).abs() < 1e-15);
    }
}

#[test]
fn agrees_with_the_reference_over_several_steps() {
    for (dtype, tolerance) in [(DType::F32, 1e-4), (DType::F64, Tolerance::F64)] {
        for shape in [(1, 1), (1, 7), (7, 3), (64, 64), (130, 259), (259, 130)] {
            let (param, momentum, grad) = start(shape, dtype);
            let (expected, expected_momentum, _) = start(shape, dtype);
            let gate = Gate::open(UPDATE.grad_scale, &expected).unwrap();
            for step in 1..=3 {
                let grad = (&grad * (step as f64 - 2.5)).unwrap();
                muon(&param, &momentum, &grad, &UPDATE).unwrap();
                reference::muon(&expected, &expected_momentum, &grad, &UPDATE, &gate).unwrap();
            }
            assert_close("param", &param, &expected, tolerance);
            assert_close("momentum", &momentum, &expected_momentum, tolerance);
        }
    }
}

#[test]
fn a_closed_gate_keeps_everything_as_it_is() {
    let (param, momentum, grad) = start((4, 6), DType::F32);
    let before = (flat(&param), flat(&momentum));
    let closed = Tensor::zeros((), DType::U32, &Device::Cpu).unwrap();
    let gate = Gate { go: closed, ..Gate::open(1., &param).unwrap() };
    reference::muon(&param, &momentum, &(grad * f64::NAN).unwrap(), &UPDATE, &gate).unwrap();
    assert!(before == (flat(&param), flat(&momentum)));
}

#[test]
fn any_number_of_threads_and_a_strided_gradient_give_the_same_bits() {
    let run = |threads: usize, transposed: bool| {
        let (param, momentum, grad) = start((170, 430), DType::F32);
        let grad = if transposed { grad.t().unwrap().contiguous().unwrap().t().unwrap() } else { grad };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| muon(&param, &momentum, &grad, &UPDATE)).unwrap();
        (flat(&param), flat(&momentum))
    };
    let first = run(1, false);
    assert!(first == run(3, false) && first == run(2, true));
}

#[test]
fn wrong_arguments_are_errors() {
    let (param, momentum, grad) = start((2, 3), DType::F32);
    let call =
        |momentum: &Tensor, grad: &Tensor| muon(&param, momentum, grad, &UPDATE).map(|()| grad.clone());
    assert_error(call(&momentum, &grad.t().unwrap()), &["muon", "grad", "[2, 3]", "[3, 2]"]);
    let moments = Tensor::zeros((2, 2, 3), DType::F32, &Device::Cpu).unwrap();
    assert_error(call(&moments, &grad), &["muon", "momentum", "[2, 3]", "[2, 2, 3]"]);
    assert_error(call(&momentum, &grad.to_dtype(DType::F64).unwrap()), &["muon", "grad", "f32", "f64"]);
    let strided = Tensor::zeros((3, 2), DType::F32, &Device::Cpu).unwrap().t().unwrap();
    assert_error(call(&strided, &grad), &["contiguous"]);
    let vector = Var::zeros(3, DType::F32, &Device::Cpu).unwrap();
    let row = vector.zeros_like().unwrap();
    assert_error(muon(&vector, &row, &row, &UPDATE).map(|()| row.clone()), &["rank", "2"]);
}
