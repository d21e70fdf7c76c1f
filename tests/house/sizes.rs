//! Files and functions that one reads in one go.

use super::source::sources;

#[test]
fn no_function_is_longer_than_60_lines() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for source in sources() {
        seen += source.functions.len();
        for function in source.functions.iter().filter(|function| function.lines > 60) {
            wrong.push(format!("{}: {}, {} lines", source.path, function.name, function.lines));
        }
    }
    assert!(wrong.is_empty(), "longer than 60 lines: {wrong:#?}");
    assert!(seen > 1000, "only {seen} functions found: the search is broken");
}

#[test]
fn no_file_is_longer_than_600_lines() {
    for source in sources() {
        let lines = source.text.lines().count();
        let limit = if source.path == "src/main.rs" { 80 } else { 600 };
        assert!(lines <= limit, "{} has {lines} lines, more than {limit}", source.path);
    }
}
