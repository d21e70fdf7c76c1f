use candle_core::{DType, Device, Tensor};

use super::{global_norm, reference, sum_of_squares};
use crate::ops::base::rows::CHUNK;
use crate::ops::base::testing::{flat, seeded};

#[test]
fn every_element_counts_once() {
    for len in [0, 1, 100, CHUNK + 1, 3 * CHUNK] {
        let x = seeded("x", &[len]);
        let expected: f64 = flat(&x).iter().map(|x| x * x).sum();
        for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-5)] {
            let x = x.to_dtype(dtype).unwrap();
            for found in [sum_of_squares(&x).unwrap(), reference::sum_of_squares(&x).unwrap()] {
                assert!((found - expected).abs() <= tolerance * expected, "{len}: {found}, not {expected}");
            }
        }
    }
}

#[test]
fn the_norm_is_that_of_all_tensors_together() {
    let (x, y) =
        (Tensor::new(&[[1f64, 2.]], &Device::Cpu).unwrap(), Tensor::new(2f64, &Device::Cpu).unwrap());
    assert_eq!(flat(&global_norm(&[&x, &y]).unwrap()), [3.]);
    assert_eq!(flat(&global_norm(&[]).unwrap()), [0.]);
}

#[test]
fn one_number_that_is_not_finite_shows() {
    for bad in [f32::NAN, f32::INFINITY] {
        let mut values = vec![1f32; 2 * CHUNK];
        values[CHUNK + 3] = bad;
        let x = Tensor::from_vec(values, 2 * CHUNK, &Device::Cpu).unwrap();
        assert!(!flat(&global_norm(&[&x]).unwrap())[0].is_finite());
    }
}
