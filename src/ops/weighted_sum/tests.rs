use super::weighted_sum;
use crate::ops::base::testing::{check, seeded};

#[test]
fn sums_agree_with_candles() {
    for shape in [&[1, 1][..], &[5, 7], &[130, 33]] {
        let weights = seeded("weights", shape);
        let like = |x: &candle_core::Tensor| weights.to_dtype(x.dtype());
        check(
            &[seeded("x", shape)],
            |t| weighted_sum(&t[0], &like(t[0].value())?),
            |t| (&t[0] * like(&t[0])?)?.sum_all(),
        );
    }
}
