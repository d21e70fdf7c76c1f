use candle_core::{DType, Device, Result, Tensor};

use super::super::testing::{Tolerance, assert_close, assert_error, check, flat, seeded};
use super::{reference, rope};

/// cos and sin of some angles, (T, D / 2).
fn tables(seq_len: usize, half: usize) -> (Tensor, Tensor) {
    let angles = seeded("angles", &[seq_len, half]);
    (angles.cos().unwrap(), angles.sin().unwrap())
}

#[test]
fn agrees_with_the_reference() {
    for (b, t, heads, half, rotated) in
        [(1, 1, 1, 1, 1), (2, 5, 3, 4, 2), (1, 7, 6, 3, 4), (2, 70, 4, 32, 0), (3, 33, 4, 17, 4)]
    {
        let (cos, sin) = tables(t, half);
        let run = |op: fn(&Tensor, &Tensor, &Tensor, usize) -> Result<Tensor>, x: &Tensor| {
            op(x, &cos.to_dtype(x.dtype())?, &sin.to_dtype(x.dtype())?, rotated)
        };
        let qkv = seeded("qkv", &[b, t, heads * 2 * half]);
        check(&[qkv], |x| run(rope, &x[0]), |x| run(reference::rope, &x[0]));
    }
}

#[test]
fn a_quarter_turn_swaps_the_halves() {
    let table = |value: f32| Tensor::full(value, (1, 2), &Device::Cpu).unwrap();
    let x = Tensor::new(&[[[1f32, 2., 3., 4., 5., 6., 7., 8.]]], &Device::Cpu).unwrap();
    let y = rope(&x, &table(0.), &table(1.), 1).unwrap();
    assert_eq!(flat(&y), [-3., -4., 1., 2., 5., 6., 7., 8.]);
}

#[test]
fn scores_depend_on_the_distance_alone() {
    let angles = Tensor::from_vec((0..20).map(f64::from).collect(), (20, 1), &Device::Cpu).unwrap();
    let angles = angles.broadcast_mul(&Tensor::new(&[[0.3f64, 0.05]], &Device::Cpu).unwrap()).unwrap();
    let vector = |name: &str| seeded(name, &[1, 1, 4]).broadcast_as((1, 20, 4)).unwrap();
    let rotated =
        |name: &str| rope(&vector(name), &angles.cos().unwrap(), &angles.sin().unwrap(), 1).unwrap();
    let (q, k) = (rotated("q"), rotated("k"));
    let score = |i: usize, j: usize| {
        let (q, k) = (q.narrow(1, i, 1).unwrap(), k.narrow(1, j, 1).unwrap());
        (q * k).unwrap().sum_all().unwrap()
    };
    assert_close("3 apart", &score(5, 2), &score(19, 16), 10. * Tolerance::F64);
}

#[test]
fn wrong_arguments_are_errors() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let (x, table) = (zeros(&[1, 3, 8]), zeros(&[3, 2]));
    assert_error(rope(&x, &zeros(&[4, 2]), &table, 1), &["rope", "cos", "[3, 2]", "[4, 2]"]);
    assert_error(rope(&x, &table, &zeros(&[3, 1]), 1), &["rope", "sin", "[3, 2]", "[3, 1]"]);
    assert_error(rope(&x, &table, &table, 3), &["rope", "3 whole heads of 4", "8"]);
    assert_error(rope(&zeros(&[3, 8]), &table, &table, 1), &["rope", "(B, T, heads D)", "[3, 8]"]);
    assert_error(rope(&x, &table.to_dtype(DType::F64).unwrap(), &table, 1), &["rope", "cos", "f32", "f64"]);
    let half = |t: &Tensor| t.to_dtype(DType::BF16).unwrap();
    assert_error(rope(&half(&x), &half(&table), &half(&table), 1), &["rope", "f32", "bf16"]);
}
