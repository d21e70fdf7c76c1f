//! The import rule of src/lib.rs, and which crates have one place.

use std::collections::BTreeMap;

use super::paths;
use super::source::sources;

/// Layer of each module, from the headings in src/lib.rs.
pub fn layers() -> BTreeMap<String, u32> {
    let (mut layers, mut layer) = (BTreeMap::new(), None);
    for line in include_str!("../../src/lib.rs").lines() {
        if let Some(heading) = line.strip_prefix("// Layer") {
            layer = heading.chars().find_map(|c| c.to_digit(10));
        }
        let item = line.trim_start_matches("pub ").trim_start_matches("pub(crate) ");
        if let Some(module) = item.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
            layers.insert(module.to_string(), layer.expect("a heading above the first module"));
        }
    }
    layers
}

/// File, the top-level module it is of, and the one it uses.
fn uses() -> Vec<[String; 3]> {
    let uses = paths::uses().iter().filter(|used| !used.from.is_empty() && !used.to.is_empty());
    uses.map(|used| [used.file.to_string(), used.from[0].clone(), used.to[0].clone()]).collect()
}

#[test]
fn a_module_uses_only_layers_below_its_own() {
    let layers = layers();
    let wrong = |[_, from, to]: &[String; 3]| {
        // The ground floor is one: files and progress report with its error.
        let (own, other) = (layers[from], layers[to]);
        from != to && (other > own || (other == own && own > 0))
    };
    let wrong: Vec<_> = uses().into_iter().filter(wrong).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn analysis_and_reports_need_neither_model_nor_data() {
    let layers = layers();
    let wrong = |[_, from, to]: &[String; 3]| match from.as_str() {
        "analysis" => from != to && layers[to] > 0 && to != "baseline",
        "report" => from != to && layers[to] > 0 && to != "analysis",
        _ => false,
    };
    let wrong: Vec<_> = uses().into_iter().filter(wrong).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_ground_floor_knows_no_tensors_and_some_crates_have_one_place() {
    let layers = layers();
    let rules: [(&str, &[&str]); 6] = [
        ("indicatif", &["progress/"]),
        ("clap", &["cli.rs"]),
        ("hf_hub", &["hub/"]),
        ("ureq", &["hub/"]),
        ("parquet", &["data/table/parquet_"]),
        ("maud", &["report/"]),
    ];
    for source in sources().iter().filter(|source| !source.is_test()) {
        let path = source.path.trim_start_matches("src/");
        let crates: Vec<&String> = source.paths.iter().map(|path| &path.segments[0]).collect();
        for (name, places) in rules {
            let at_home = places.iter().any(|place| path.starts_with(place));
            assert!(at_home || !crates.iter().any(|found| *found == name), "{path} uses {name}");
        }
        let layer = source.module().first().and_then(|module| layers.get(module).copied());
        let low = layer == Some(0) || ["analysis/", "report/"].iter().any(|place| path.starts_with(place));
        assert!(!low || !crates.iter().any(|found| found.starts_with("candle")), "{path} uses candle");
    }
}
