use candle_core::{DType, Device, Result, Tensor};
use rand::RngCore;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::super::base::testing::{assert_error, flat};
use super::dropout_mask;

const KEY: [u8; 32] = *b"a key of thirty-two bytes, at la";

fn mask(key: [u8; 32], probability: f64, count: usize) -> Result<Tensor> {
    dropout_mask(key, probability, count, DType::F32, &Device::Cpu)
}

#[test]
fn words_of_the_stream_in_order_decide() {
    for count in [0, 1, 15, 16, 17, 4096, 4097, 10_000] {
        let mut stream = ChaCha8Rng::from_seed(KEY);
        let threshold = (0.3 * f64::from(u32::MAX)) as u32;
        let factor = |_| if stream.next_u32() < threshold { 0. } else { f64::from((1. / 0.7) as f32) };
        let expected: Vec<f64> = (0..count).map(factor).collect();
        let wide = dropout_mask(KEY, 0.3, count, DType::F64, &Device::Cpu).unwrap();
        assert!(flat(&wide) == expected, "{count} factors");
        assert!(flat(&mask(KEY, 0.3, count).unwrap()) == expected, "{count} factors of f32");
    }
}

/// The first words of the key of zeros: the block that tests/kernels/ops.cpp holds the GPU's kernel against.
/// Source: Strombergson 2013, draft-strombergson-chacha-test-vectors-01, TC1 with 256 bits and 8 rounds.
#[test]
fn the_stream_is_chacha_with_eight_rounds() {
    let words = [0x2fef_003e_u32, 0xd640_5f89, 0xe8b8_5b7f, 0xa1a5_091f];
    // A factor tells on which side of a threshold its word lies.
    for word in words {
        let factors = |threshold: u32| {
            flat(&mask([0; 32], f64::from(threshold) / f64::from(u32::MAX), words.len()).unwrap())
        };
        for (threshold, below) in [(word - 1, false), (word + 2, true)] {
            let place = words.iter().position(|other| *other == word).unwrap();
            assert_eq!(factors(threshold)[place] == 0., below, "{word:x} {threshold:x}");
        }
    }
}

#[test]
fn the_share_of_zeros_is_the_probability_and_the_mean_stays_one() {
    for probability in [0.1, 0.5] {
        let factors = flat(&mask(KEY, probability, 100_000).unwrap());
        let zeros = factors.iter().filter(|factor| **factor == 0.).count() as f64 / 1e5;
        // Four standard deviations of a share of 1e5.
        assert!((zeros - probability).abs() < 4. * (probability * (1. - probability) / 1e5).sqrt());
        assert!((factors.iter().sum::<f64>() / 1e5 - 1.).abs() < 0.02);
    }
}

#[test]
fn a_type_without_factors_is_an_error() {
    assert_error(dropout_mask(KEY, 0.5, 3, DType::F16, &Device::Cpu), &["dropout_mask", "f32", "f16"]);
}
