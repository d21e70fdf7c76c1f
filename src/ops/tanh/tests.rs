use super::tanh;
use crate::ops::base::testing::{check, seeded};

#[test]
fn agrees_with_candles() {
    for shape in [&[1][..], &[3, 7], &[2, 5, 33]] {
        check(&[seeded("x", shape)], |t| tanh(&t[0]), |t| t[0].tanh());
    }
}
