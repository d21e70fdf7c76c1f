use candle_core::{DType, Device, Tensor};

use super::super::testing::{Tolerance, assert_close, assert_error, check, seeded};
use super::{attention, attention_cached, reference};

/// Batch, sequence, heads, key-value heads, head dimension: single, grouped and one shared key-value head,
/// and lengths just below, at and past the block of query rows.
const SIZES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 1, 1, 1, 1),
    (2, 5, 3, 1, 4),
    (1, 31, 4, 2, 8),
    (2, 32, 2, 2, 16),
    (1, 33, 2, 1, 3),
    (2, 65, 4, 4, 8),
    (1, 97, 6, 2, 5),
];

#[test]
fn agrees_with_the_reference() {
    for (b, t, h, k, d) in SIZES {
        let qkv = seeded("qkv", &[b, t, (h + 2 * k) * d]);
        check(&[qkv], |x| attention(&x[0], h, k), |x| reference::attention(&x[0], h, k));
    }
}

#[test]
fn huge_scores_stay_finite() {
    let qkv = (seeded("qkv", &[1, 40, 3 * 8]) * 1e3).unwrap().to_dtype(DType::F32).unwrap();
    let (got, expected) = (attention(&qkv, 1, 1).unwrap(), reference::attention(&qkv, 1, 1).unwrap());
    assert_close("huge scores", &got, &expected, Tolerance::F32);
}

#[test]
fn later_tokens_change_nothing_before_them() {
    let qkv = seeded("qkv", &[1, 70, 6 * 4]);
    let short = qkv.narrow(1, 0, 50).unwrap();
    let whole = attention(&qkv, 2, 2).unwrap().narrow(1, 0, 50).unwrap();
    assert_close("prefix", &whole, &attention(&short, 2, 2).unwrap(), Tolerance::F64);
}

#[test]
fn cached_attention_continues_a_sequence() {
    let (h, k, d, t, new) = (4, 2, 8, 37, 3);
    let qkv = seeded("qkv", &[2, t, (h + 2 * k) * d]);
    let whole = attention(&qkv, h, k).unwrap().narrow(1, t - new, new).unwrap();
    let q = qkv.narrow(2, 0, h * d).unwrap().narrow(1, t - new, new).unwrap();
    let keys = qkv.narrow(2, h * d, k * d).unwrap();
    let values = qkv.narrow(2, (h + k) * d, k * d).unwrap();
    let cached = attention_cached(&q, &keys, &values, h, k).unwrap();
    assert_close("last positions", &cached, &whole, Tolerance::F64);
    let few = keys.narrow(1, 0, 2).unwrap();
    assert_error(attention_cached(&q, &few, &few, h, k), &["attention", "at least 3 keys", "got 2"]);
    assert_error(attention_cached(&q, &keys, &few, h, k), &["attention", "v of shape", "[2, 2, 16]"]);
}

#[test]
fn wrong_arguments_are_errors() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    assert_error(attention(&zeros(&[2, 12]), 2, 2), &["attention", "(B, T, 6 D)", "[2, 12]"]);
    assert_error(attention(&zeros(&[1, 2, 13]), 2, 2), &["attention", "multiple of 6", "13"]);
    assert_error(attention(&zeros(&[1, 2, 12]), 3, 2), &["attention", "num_kv_heads", "3 and 2"]);
    let half = zeros(&[1, 2, 12]).to_dtype(DType::F16).unwrap();
    assert_error(attention(&half, 2, 2), &["attention", "f32", "f16"]);
}
