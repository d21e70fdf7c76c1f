use super::{add_columns, reference};
use crate::ops::base::testing::{assert_error, check, seeded};

#[test]
fn a_branch_goes_into_its_columns_alone() {
    for (rows, width, columns, start) in [(1, 1, 1, 0), (5, 7, 3, 0), (5, 7, 3, 4), (130, 65, 33, 17)] {
        check(
            &[seeded("x", &[rows, width]), seeded("branch", &[rows, columns])],
            |t| add_columns(&t[0], &t[1], start, 1.7),
            |t| reference::add_columns(&t[0], &t[1], start, 1.7),
        );
    }
}

#[test]
fn wrong_arguments_are_errors() {
    let x = seeded("x", &[2, 3]);
    let sum = |start| add_columns(&(&x).into(), &(&x).into(), start, 1.).map(|sum| sum.value().clone());
    assert_error(sum(1), &["add_columns", "1..4", "3"]);
}
