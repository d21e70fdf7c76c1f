use candle_core::{DType, Device, Result, Tensor};

use super::super::base::tape::Traced;
use super::super::base::testing::{Tolerance, assert_close, assert_error, check, seeded};
use super::{Mask, attention, attention_cached, reference};

const MASKS: [Mask; 2] = [Mask::Causal, Mask::Bidirectional];

fn attend(qkv: &Tensor, lengths: &[usize], h: usize, k: usize, mask: Mask) -> Result<Tensor> {
    attention(&qkv.into(), lengths, h, k, mask).map(|y| y.value().clone())
}

/// Lengths, heads, key-value heads, head dimension: single, grouped and one shared key-value head, equal and
/// unequal lengths just below, at and past one and two blocks of query rows, and a head wider than a tile.
const SIZES: [(&[usize], usize, usize, usize); 9] = [
    (&[1], 1, 1, 1),
    (&[5, 5], 3, 1, 4),
    (&[63, 2], 4, 2, 8),
    (&[97], 6, 2, 5),
    (&[127, 2], 2, 1, 8),
    (&[128, 128], 2, 2, 16),
    (&[129], 2, 1, 3),
    (&[7, 260, 1], 2, 2, 8),
    (&[140], 1, 1, 64),
];

#[test]
fn agrees_with_the_reference() {
    for (lengths, h, k, d) in SIZES {
        let qkv = seeded("qkv", &[lengths.iter().sum(), (h + 2 * k) * d]);
        for mask in MASKS {
            let of_ours = |x: &[Traced]| attention(&x[0], lengths, h, k, mask);
            check(std::slice::from_ref(&qkv), of_ours, |x| reference::attention(&x[0], lengths, h, k, mask));
        }
    }
}

#[test]
fn huge_scores_stay_finite() {
    let qkv = (seeded("qkv", &[40, 3 * 8]) * 1e3).unwrap().to_dtype(DType::F32).unwrap();
    for mask in MASKS {
        let expected = reference::attention(&qkv, &[40], 1, 1, mask).unwrap();
        assert_close("huge scores", &attend(&qkv, &[40], 1, 1, mask).unwrap(), &expected, Tolerance::F32);
    }
}

#[test]
fn later_tokens_and_other_sequences_change_nothing() {
    let qkv = seeded("qkv", &[70, 6 * 4]);
    let short = qkv.narrow(0, 0, 50).unwrap();
    let alone = attend(&short, &[50], 2, 2, Mask::Causal).unwrap();
    for lengths in [&[70][..], &[50, 20]] {
        let whole = attend(&qkv, lengths, 2, 2, Mask::Causal).unwrap().narrow(0, 0, 50).unwrap();
        assert_close("prefix", &whole, &alone, Tolerance::F64);
    }
}

#[test]
fn in_both_directions_the_order_of_keys_and_other_sequences_change_nothing() {
    let qkv = seeded("qkv", &[300, 6 * 4]);
    let reversed = |x: &Tensor, from: u32, to: u32| {
        let rows: Vec<u32> = (from..to).rev().collect();
        x.index_select(&Tensor::new(rows, &Device::Cpu).unwrap(), 0).unwrap()
    };
    let whole = attend(&qkv, &[10, 290], 2, 2, Mask::Bidirectional).unwrap();
    let alone = attend(&reversed(&qkv, 10, 300), &[290], 2, 2, Mask::Bidirectional).unwrap();
    assert_close("read backwards", &reversed(&whole, 10, 300), &alone, Tolerance::F64);
}

#[test]
fn cached_attention_continues_a_sequence() {
    let (h, k, d, t, new) = (4, 2, 8, 37, 3);
    let qkv = seeded("qkv", &[2, t, (h + 2 * k) * d]);
    let rows = qkv.flatten(0, 1).unwrap();
    let whole = attend(&rows, &[t, t], h, k, Mask::Causal).unwrap().reshape((2, t, h * d)).unwrap();
    let whole = whole.narrow(1, t - new, new).unwrap();
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
    assert_error(
        attend(&zeros(&[1, 2, 12]), &[2], 2, 2, Mask::Causal),
        &["attention", "(N, 6 D)", "[1, 2, 12]"],
    );
    assert_error(attend(&zeros(&[2, 13]), &[2], 2, 2, Mask::Causal), &["attention", "multiple of 6", "13"]);
    assert_error(
        attend(&zeros(&[2, 12]), &[2], 3, 2, Mask::Causal),
        &["attention", "num_kv_heads", "3 and 2"],
    );
    assert_error(attend(&zeros(&[2, 12]), &[2, 1], 2, 2, Mask::Causal), &["attention", "2 rows", "got 3"]);
    let half = zeros(&[2, 12]).to_dtype(DType::F16).unwrap();
    assert_error(attend(&half, &[2], 2, 2, Mask::Causal), &["attention", "f32", "f16"]);
}
