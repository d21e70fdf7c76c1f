use candle_core::Tensor;

use super::concat;
use crate::ops::base::testing::{assert_error, check, seeded};

#[test]
fn agrees_with_candles() {
    for lengths in [&[1][..], &[3, 7], &[33, 1, 130]] {
        let parts: Vec<Tensor> =
            lengths.iter().enumerate().map(|(i, length)| seeded(&format!("{i}"), &[*length])).collect();
        check(&parts, concat, |parts| Tensor::cat(parts, 0));
    }
}

#[test]
fn other_shapes_are_errors() {
    let of = |parts: &[Tensor]| {
        let parts: Vec<_> = parts.iter().map(Into::into).collect();
        concat(&parts).map(|y| y.value().clone())
    };
    assert_error(of(&[]), &["concat", "at least one"]);
    assert_error(of(&[seeded("x", &[2, 3])]), &["rank"]);
}
