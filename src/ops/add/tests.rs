use super::{add, reference};
use crate::ops::base::testing::{assert_error, check, seeded};

#[test]
fn sums_agree_with_candles() {
    for shape in [&[1, 1][..], &[5, 7], &[130, 33]] {
        let inputs = [seeded("x", shape), seeded("y", shape)];
        let factors = seeded("factors", shape);
        check(&inputs, |t| add(&t[0], &t[1], None), |t| reference::add(&t[0], &t[1], None));
        check(
            &inputs,
            |t| add(&t[0], &t[1], Some(&factors.to_dtype(t[0].dtype())?)),
            |t| reference::add(&t[0], &t[1], Some(&factors.to_dtype(t[0].dtype())?)),
        );
    }
}

#[test]
fn a_tensor_can_be_added_to_itself() {
    let x = seeded("x", &[3, 4]);
    check(&[x], |t| add(&add(&t[0], &t[0], None)?, &t[0], None), |t| (&t[0] + &t[0])? + &t[0]);
}

#[test]
fn wrong_arguments_are_errors() {
    let (x, y) = (seeded("x", &[2, 3]), seeded("y", &[3, 2]));
    let sum = add(&(&x).into(), &(&y).into(), None).map(|sum| sum.value().clone());
    assert_error(sum, &["add", "branch", "[2, 3]", "[3, 2]"]);
}
