//! What is written to standard output and standard error, and how.

use super::source::sources;

/// `println!` and its like panic where nobody reads what they print.
#[test]
fn nothing_is_printed_by_a_macro_that_panics() {
    let panicking = ["print", "println", "eprint", "eprintln", "dbg"];
    let program = sources().iter().filter(|source| !source.is_test());
    let calls = program.flat_map(|source| source.macros.iter().map(move |name| (&source.path, name)));
    let wrong: Vec<_> = calls.filter(|(_, name)| panicking.contains(&name.as_str())).collect();
    assert!(wrong.is_empty(), "use progress::say or commands/print.rs: {wrong:#?}");
}
