//! Every crate that Cargo.toml asks for is used where it says.

use std::collections::BTreeSet;

use super::source::{Source, sources};
use crate::support::root;

/// Names of the crates in a section of Cargo.toml.
fn dependencies(sections: &[&str]) -> Vec<String> {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (mut inside, mut names) = (false, Vec::new());
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = sections.contains(&line);
        } else if let Some((name, _)) = line.split_once('=').filter(|_| inside && !line.starts_with('#')) {
            names.push(name.trim().replace('-', "_"));
        }
    }
    names
}

/// What the paths of the program begin with, `mod tests` left out.
fn roots() -> BTreeSet<&'static str> {
    let program = sources().iter().filter(|source| !source.is_test());
    program.flat_map(|source| &source.paths).map(|path| path.segments[0].as_str()).collect()
}

#[test]
fn every_crate_that_is_asked_for_is_used() {
    let normal = dependencies(&["[dependencies]", "[target.'cfg(unix)'.dependencies]"]);
    let of_tests = dependencies(&["[dev-dependencies]"]);
    assert!(normal.len() > 10 && of_tests.len() > 1, "{normal:?} {of_tests:?}");
    let program = roots();
    for name in normal {
        assert!(program.contains(name.as_str()), "the program does not use {name}");
    }
    for name in of_tests {
        let uses = |source: &Source| source.text.contains(&format!("{name}::"));
        assert!(sources().iter().any(uses), "no test uses {name}");
    }
}
