use candle_core::{DType, Device, Tensor};

use super::super::base::testing::{assert_error, check, flat, seeded};
use super::{Pool, pool, reference};

#[test]
fn agrees_with_the_reference() {
    for (lengths, columns) in [(&[1][..], 1), (&[3, 1, 7], 5), (&[40, 2], 33)] {
        for which in [Pool::Last, Pool::First, Pool::Mean, Pool::Concat] {
            let x = seeded("x", &[lengths.iter().sum(), columns]);
            check(&[x], |t| pool(&t[0], lengths, which), |t| reference::pool(&t[0], lengths, which));
        }
    }
}

#[test]
fn each_sequence_has_its_own_row() {
    let x = Tensor::new(&[[1f32], [2.], [6.], [5.]], &Device::Cpu).unwrap();
    let rows = |which| flat(pool(&(&x).into(), &[3, 1], which).unwrap().value());
    assert_eq!(rows(Pool::Last), [6., 5.]);
    assert_eq!(rows(Pool::First), [1., 5.]);
    assert_eq!(rows(Pool::Mean), [3., 5.]);
    assert_eq!(rows(Pool::Concat), [6., 6., 3., 5., 5., 5.]);
}

#[test]
fn wrong_arguments_are_errors() {
    let x = Tensor::zeros((4, 2), DType::F32, &Device::Cpu).unwrap();
    let run = |x: &Tensor, lengths: &[usize]| pool(&x.into(), lengths, Pool::Mean).map(|y| y.value().clone());
    assert_error(run(&x, &[3]), &["pool", "4 rows", "[3]"]);
    assert_error(run(&x, &[4, 0]), &["pool", "above 0", "[4, 0]"]);
    assert_error(run(&x.get(0).unwrap(), &[1]), &["pool", "(N, C)", "[2]"]);
    assert_error(run(&x.to_dtype(DType::F16).unwrap(), &[4]), &["pool", "f32", "f16"]);
}
