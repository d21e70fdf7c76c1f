use super::multiply;
use crate::ops::base::testing::{check, seeded};

#[test]
fn products_agree_with_candles() {
    for shape in [&[1, 1][..], &[5, 7], &[130, 33]] {
        let factors = seeded("factors", shape);
        let like = |x: &candle_core::Tensor| factors.to_dtype(x.dtype());
        check(&[seeded("x", shape)], |t| multiply(&t[0], &like(t[0].value())?), |t| &t[0] * like(&t[0])?);
    }
}
