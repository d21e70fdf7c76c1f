use candle_core::{DType, Device, Result, Tensor, Var};

use super::super::base::tape::GradientSums;
use super::super::base::testing::{assert_error, check, flat, seeded};
use super::reference;

fn embedding(weight: &Tensor, ids: &Tensor) -> Result<Tensor> {
    super::embedding(&weight.into(), ids).map(|y| y.value().clone())
}

fn ids(shape: &[usize], vocab_size: u32) -> Tensor {
    let ids: Vec<u32> = (0..shape.iter().product::<usize>() as u32).map(|i| i * i % vocab_size).collect();
    Tensor::from_vec(ids, shape, &Device::Cpu).unwrap()
}

#[test]
fn agrees_with_the_reference() {
    for (v, c, shape) in [(1, 1, &[1][..]), (5, 3, &[7]), (11, 33, &[2, 3, 4]), (1000, 65, &[3, 50])] {
        let ids = ids(shape, v as u32);
        let weight = seeded("weight", &[v, c]);
        check(&[weight], |x| super::embedding(&x[0], &ids), |x| reference::embedding(&x[0], &ids));
    }
}

#[test]
fn only_used_rows_get_gradients() {
    let weight = Var::from_tensor(&seeded("weight", &[4, 2])).unwrap();
    let ids = Tensor::new(&[2u32, 0, 2], &Device::Cpu).unwrap();
    let y = super::embedding(&weight.as_tensor().into(), &ids).unwrap();
    let mut gradients = GradientSums::default();
    gradients.backward_from(&y, y.value().ones_like().unwrap()).unwrap();
    assert_eq!(flat(&gradients.remove(&weight).unwrap().unwrap()), [1., 1., 0., 0., 2., 2., 0., 0.]);
}

#[test]
fn a_transposed_table_of_ids_is_read_in_its_own_order() {
    let weight = seeded("weight", &[6, 2]);
    let ids = ids(&[2, 3], 6);
    let got = embedding(&weight, &ids.t().unwrap()).unwrap();
    let expected = embedding(&weight, &ids).unwrap().transpose(0, 1).unwrap();
    assert_eq!(flat(&got), flat(&expected));
}

#[test]
fn wrong_arguments_are_errors() {
    let weight = Tensor::zeros((4, 2), DType::F32, &Device::Cpu).unwrap();
    let ids = |ids: &[u32]| Tensor::new(ids, &Device::Cpu).unwrap();
    assert_error(embedding(&weight, &ids(&[1, 4])), &["embedding", "size 4", "got 4"]);
    assert_error(embedding(&weight.get(0).unwrap(), &ids(&[1])), &["embedding", "(V, C)", "[2]"]);
    let wide = ids(&[1]).to_dtype(DType::I64).unwrap();
    assert_error(embedding(&weight, &wide), &["embedding", "u32", "i64"]);
    let half = weight.to_dtype(DType::F16).unwrap();
    assert_error(embedding(&half, &ids(&[1])), &["embedding", "f32", "f16"]);
}
