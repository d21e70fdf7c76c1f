use candle_core::{DType, Device, Error, Tensor};

use super::super::base::testing::{Tolerance, assert_close, assert_error, check, flat, seeded};
use super::{reference, rope};

/// cos and sin of some angles, (T, D / 2).
fn tables(seq_len: usize, half: usize) -> (Tensor, Tensor) {
    let angles = seeded("angles", &[seq_len, half]);
    (angles.cos().unwrap(), angles.sin().unwrap())
}

/// Positions in no order, some twice.
fn positions(rows: usize, num_positions: usize) -> Tensor {
    let positions: Vec<u32> = (0..rows).map(|row| (row * 5 % num_positions) as u32).collect();
    Tensor::from_vec(positions, rows, &Device::Cpu).unwrap()
}

#[test]
fn agrees_with_the_reference() {
    for (rows, num_positions, heads, half, rotated) in
        [(1, 1, 1, 1, 1), (10, 7, 3, 4, 2), (7, 5, 6, 3, 4), (140, 70, 4, 32, 0), (99, 33, 4, 17, 4)]
    {
        let (cos, sin) = tables(num_positions, half);
        let at = positions(rows, num_positions);
        let like = |x: &Tensor| Ok::<_, Error>((cos.to_dtype(x.dtype())?, sin.to_dtype(x.dtype())?));
        let qkv = seeded("qkv", &[rows, heads * 2 * half]);
        check(
            &[qkv],
            |x| like(x[0].value()).and_then(|(cos, sin)| rope(&x[0], &at, &cos, &sin, rotated)),
            |x| like(&x[0]).and_then(|(cos, sin)| reference::rope(&x[0], &at, &cos, &sin, rotated)),
        );
    }
}

#[test]
fn a_quarter_turn_swaps_the_halves() {
    let table = |value: f32| Tensor::full(value, (1, 2), &Device::Cpu).unwrap();
    let x = Tensor::new(&[[1f32, 2., 3., 4., 5., 6., 7., 8.]], &Device::Cpu).unwrap();
    let y = rope(&x.into(), &positions(1, 1), &table(0.), &table(1.), 1).unwrap();
    assert_eq!(flat(y.value()), [-3., -4., 1., 2., 5., 6., 7., 8.]);
}

#[test]
fn scores_depend_on_the_distance_alone() {
    let angles = Tensor::from_vec((0..20).map(f64::from).collect(), (20, 1), &Device::Cpu).unwrap();
    let angles = angles.broadcast_mul(&Tensor::new(&[[0.3f64, 0.05]], &Device::Cpu).unwrap()).unwrap();
    let (cos, sin) = (angles.cos().unwrap(), angles.sin().unwrap());
    let at = Tensor::arange(0u32, 20, &Device::Cpu).unwrap();
    let rotated = |name: &str| {
        let vectors = seeded(name, &[1, 4]).broadcast_as((20, 4)).unwrap();
        rope(&vectors.into(), &at, &cos, &sin, 1).unwrap().value().clone()
    };
    let (q, k) = (rotated("q"), rotated("k"));
    let score = |i: usize, j: usize| (q.get(i).unwrap() * k.get(j).unwrap()).unwrap().sum_all().unwrap();
    assert_close("3 apart", &score(5, 2), &score(19, 16), 10. * Tolerance::F64);
}

#[test]
fn wrong_arguments_are_errors() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let (x, table, at) = (zeros(&[3, 8]), zeros(&[4, 2]), positions(3, 4));
    let run = |x: &Tensor, at: &Tensor, cos: &Tensor, sin: &Tensor, rotated| {
        rope(&x.into(), at, cos, sin, rotated).map(|y| y.value().clone())
    };
    assert_error(run(&x, &positions(2, 2), &table, &table, 1), &["rope", "positions", "[3]", "[2]"]);
    assert_error(run(&x, &at, &table, &zeros(&[4, 1]), 1), &["rope", "sin", "[4, 2]", "[4, 1]"]);
    assert_error(run(&x, &at, &table, &table, 3), &["rope", "3 whole heads of 4", "8"]);
    assert_error(run(&zeros(&[1, 3, 8]), &at, &table, &table, 1), &["rope", "(N, heads D)", "[1, 3, 8]"]);
    let far = Tensor::new(&[0u32, 4, 1], &Device::Cpu).unwrap();
    assert_error(run(&x, &far, &table, &table, 1), &["rope", "below 4", "got 4"]);
    assert_error(
        run(&x, &at, &table.to_dtype(DType::F64).unwrap(), &table, 1),
        &["rope", "cos", "f32", "f64"],
    );
    let half = |t: &Tensor| t.to_dtype(DType::BF16).unwrap();
    assert_error(run(&half(&x), &at, &half(&table), &half(&table), 1), &["rope", "f32", "bf16"]);
}
