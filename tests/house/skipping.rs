//! A test that cannot run here says so.

use std::process::{Command, Output};

#[test]
fn a_skipped_test_is_named_at_the_end_and_fails_where_it_is_required() {
    let test = "parity::transformers_computes_what_an_exported_model_does";
    let run = |required: &str| -> Output {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test]).env("TRAIN_PYTHON", "no-python").env("TRAIN_REQUIRE", required);
        command.output().unwrap()
    };
    let skipped = run("gpu");
    let said = String::from_utf8(skipped.stderr).unwrap();
    assert!(skipped.status.success(), "{said}");
    assert!(said.starts_with(&format!("skipped: {test} needs python: no-python has not all of")), "{said}");
    for required in ["gpu,python", "pyton"] {
        assert!(!run(required).status.success(), "{required}");
    }
}
