use candle_core::{DType, Device, Tensor};

use super::super::IGNORE_INDEX;
use super::super::base::testing::{Tolerance, assert_close, assert_error, check, seeded};
use super::{head_cross_entropy, head_losses, reference};

fn targets(rows: usize, vocab_size: usize) -> Tensor {
    let target = |row: usize| if row % 5 == 3 { IGNORE_INDEX } else { (row * 7 % vocab_size) as u32 };
    Tensor::from_vec((0..rows).map(target).collect(), rows, &Device::Cpu).unwrap()
}

#[test]
fn agrees_with_the_reference() {
    // The last sizes need two blocks of rows.
    for (rows, columns, vocab_size) in [(1, 1, 1), (7, 3, 5), (30, 33, 65), (300, 4, 9000)] {
        let inputs = [seeded("hidden", &[rows, columns]), seeded("weight", &[vocab_size, columns])];
        let targets = targets(rows, vocab_size);
        check(
            &inputs,
            |t| head_cross_entropy(&t[0], &t[1], &targets, 0.25),
            |t| reference::losses(&t[0], &t[1], &targets)?.sum_all()? * 0.25,
        );
        let [hidden, weight] = &inputs;
        let losses = head_losses(&hidden.into(), &weight.into(), &targets).unwrap();
        let expected = reference::losses(hidden, weight, &targets).unwrap();
        assert_close("losses", &losses, &expected, Tolerance::F64);
    }
}

#[test]
fn huge_logits_stay_finite() {
    let hidden = (seeded("hidden", &[5, 8]) * 1e4).unwrap().to_dtype(DType::F32).unwrap();
    let weight = seeded("weight", &[40, 8]).to_dtype(DType::F32).unwrap();
    let targets = targets(5, 40);
    let loss = head_cross_entropy(&(&hidden).into(), &(&weight).into(), &targets, 1.).unwrap();
    let expected = reference::losses(&hidden, &weight, &targets).unwrap().sum_all().unwrap();
    assert_close("loss", loss.value(), &expected, Tolerance::F32);
}

#[test]
fn wrong_arguments_are_errors() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let run = |hidden: &Tensor, weight: &Tensor, targets: &Tensor| {
        head_cross_entropy(&hidden.into(), &weight.into(), targets, 1.).map(|loss| loss.value().clone())
    };
    let (hidden, weight, right) = (zeros(&[2, 3]), zeros(&[5, 3]), targets(2, 5));
    assert_error(
        run(&hidden, &zeros(&[5, 4]), &right),
        &["head_cross_entropy", "weight", "[5, 3]", "[5, 4]"],
    );
    assert_error(run(&hidden, &weight, &targets(3, 5)), &["head_cross_entropy", "targets", "[2]", "[3]"]);
    let outside = Tensor::new(&[0u32, 5], &Device::Cpu).unwrap();
    assert_error(run(&hidden, &weight, &outside), &["head_cross_entropy", "size 5", "got 5"]);
    let half = |t: &Tensor| t.to_dtype(DType::F16).unwrap();
    assert_error(run(&half(&hidden), &half(&weight), &right), &["head_cross_entropy", "f32", "f16"]);
    assert_error(run(&hidden.get(0).unwrap(), &weight, &right), &["head_cross_entropy", "(N, C)", "[3]"]);
}
