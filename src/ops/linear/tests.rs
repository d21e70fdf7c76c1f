use candle_core::{DType, Device, Result, Tensor};

use super::super::base::testing::{assert_error, check, seeded};
use super::{WeightLayout, reference};

fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, layout: WeightLayout) -> Result<Tensor> {
    let bias = bias.map(Into::into);
    super::linear(&x.into(), &[weight.into()], bias.as_ref(), layout).map(|y| y.value().clone())
}

const LAYOUTS: [WeightLayout; 2] = [WeightLayout::OutIn, WeightLayout::InOut];

/// x, weight and bias for a batch of rows.
fn inputs(batch: &[usize], inputs: usize, outputs: usize, layout: WeightLayout) -> [Tensor; 3] {
    let weight = match layout {
        WeightLayout::OutIn => [outputs, inputs],
        WeightLayout::InOut => [inputs, outputs],
    };
    let x = [batch, &[inputs]].concat();
    [seeded("x", &x), seeded("weight", &weight), seeded("bias", &[outputs])]
}

#[test]
fn agrees_with_the_reference() {
    for layout in LAYOUTS {
        for (batch, i, o) in [(&[1][..], 1, 1), (&[5], 3, 7), (&[3, 11], 33, 17), (&[2, 130], 64, 65)] {
            let all = inputs(batch, i, o, layout);
            check(
                &all,
                |t| super::linear(&t[0], &t[1..2], Some(&t[2]), layout),
                |t| reference::linear(&t[0], &[&t[1]], Some(&t[2]), layout),
            );
            check(
                &all[..2],
                |t| super::linear(&t[0], &t[1..], None, layout),
                |t| reference::linear(&t[0], &[&t[1]], None, layout),
            );
        }
    }
}

#[test]
fn outputs_of_several_weights_stand_side_by_side() {
    for layout in LAYOUTS {
        let [x, first, _] = inputs(&[3, 11], 33, 17, layout);
        let [_, second, _] = inputs(&[1], 33, 5, layout);
        check(
            &[x, first, second, seeded("bias", &[22])],
            |t| super::linear(&t[0], &t[1..3], Some(&t[3]), layout),
            |t| reference::linear(&t[0], &[&t[1], &t[2]], Some(&t[3]), layout),
        );
    }
}

#[test]
fn wrong_arguments_are_errors() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let (x, weight) = (zeros(&[2, 3]), zeros(&[5, 3]));
    assert_error(linear(&x, &weight, None, WeightLayout::InOut), &["linear", "weight", "[3, 3]", "[5, 3]"]);
    let wrong = zeros(&[4]);
    assert_error(linear(&x, &weight, Some(&wrong), WeightLayout::OutIn), &["linear", "bias", "[5]", "[4]"]);
    let wrong = weight.to_dtype(DType::F64).unwrap();
    assert_error(linear(&x, &wrong, None, WeightLayout::OutIn), &["linear", "weight", "f32", "f64"]);
    let half = |t: &Tensor| t.to_dtype(DType::BF16).unwrap();
    assert_error(linear(&half(&x), &half(&weight), None, WeightLayout::OutIn), &["linear", "f32", "bf16"]);
}
