//! The import rule of src/lib.rs, and the sizes of files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

struct Source {
    /// Relative to src, with slashes.
    path: String,
    /// Top-level module it belongs to.
    module: String,
    text: String,
}

/// Every file below src.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    assert!(paths.len() > 50, "only {} files found", paths.len());
    let source = |path: PathBuf| {
        let parts: Vec<_> =
            path.strip_prefix(&root).unwrap().iter().map(|part| part.to_str().unwrap()).collect();
        let module = parts[0].trim_end_matches(".rs").to_string();
        Source { path: parts.join("/"), module, text: std::fs::read_to_string(&path).unwrap() }
    };
    paths.into_iter().map(source).collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Layer of each module, from the headings in src/lib.rs.
fn layers() -> BTreeMap<String, u32> {
    let (mut layers, mut layer) = (BTreeMap::new(), None);
    for line in include_str!("../src/lib.rs").lines() {
        if let Some(heading) = line.strip_prefix("// Layer") {
            layer = heading.chars().find_map(|c| c.to_digit(10));
        }
        if let Some(module) = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')) {
            layers.insert(module.to_string(), layer.expect("a heading above the first module"));
        }
    }
    // The last heading is for two modules: the arguments know the commands.
    layers.insert("cli".into(), layers["commands"] + 1);
    layers
}

/// Modules named after `crate::` outside comments, grouped imports included.
fn used(source: &Source) -> Vec<String> {
    let code = source.text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = code.collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for after in code.split("crate::").skip(1) {
        let names: Vec<&str> = match after.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or_default().split(',').collect(),
            None => vec![after],
        };
        let name = |text: &str| -> String {
            text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
        };
        found.extend(names.into_iter().map(name).filter(|name| !name.is_empty()));
    }
    found
}

#[test]
fn a_module_uses_only_layers_below_its_own() {
    let layers = layers();
    let mut seen = 0;
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !["lib", "main"].contains(&source.module.as_str())) {
        let own = layers[&source.module];
        for name in used(source).into_iter().filter(|name| *name != source.module) {
            let other = *layers.get(&name).unwrap_or_else(|| panic!("{}: no module {name}", source.path));
            seen += 1;
            // The ground floor is one: files and progress report with its error.
            if other > own || (other == own && own > 0) {
                wrong.push(format!("{} (layer {own}) uses {name} (layer {other})", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 100, "only {seen} uses found: the search is broken");
}

#[test]
fn the_ground_floor_has_no_circles() {
    let layers = layers();
    let mut uses: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources().iter().filter(|source| layers.get(&source.module) == Some(&0)) {
        uses.entry(source.module.clone()).or_default().extend(used(source));
    }
    // Modules that use nothing that is left fall away, until none is left.
    while !uses.is_empty() {
        let left: Vec<String> = uses.keys().cloned().collect();
        uses.retain(|module, names| names.iter().any(|name| name != module && left.contains(name)));
        assert!(uses.len() < left.len(), "a circle among {left:?}");
    }
}

#[test]
fn analysis_and_reports_need_neither_model_nor_data() {
    let layers = layers();
    for (module, allowed) in [("analysis", &[][..]), ("report", &["analysis"])] {
        for source in sources().iter().filter(|source| source.module == module) {
            let known = |name: &str| name == module || layers[name] == 0 || allowed.contains(&name);
            let wrong: Vec<_> = used(source).into_iter().filter(|name| !known(name)).collect();
            assert!(wrong.is_empty(), "{} uses {wrong:?}", source.path);
            assert!(!source.text.contains("candle"), "{} uses candle", source.path);
        }
    }
}

#[test]
fn model_and_data_do_not_know_each_other() {
    for source in sources() {
        let other = match source.module.as_str() {
            "model" => "data",
            "data" => "model",
            _ => continue,
        };
        assert!(!used(&source).contains(&other.to_string()), "{} uses {other}", source.path);
    }
}

#[test]
fn bars_and_arguments_have_one_place() {
    let hub: &[&str] = &["hub/mod.rs", "hub/name.rs", "hub/download.rs"];
    let rules: [(&str, &[&str]); 5] = [
        ("indicatif", &["progress/terminal.rs"]),
        ("clap", &["cli.rs", "main.rs", "commands/configs.rs"]),
        ("hf_hub", hub),
        ("ureq", hub),
        ("parquet", &["data/table/parquet_rows.rs"]),
    ];
    for (name, places) in rules {
        let uses = |line: &str| {
            !line.trim_start().starts_with("//")
                && (line.contains(&format!("{name}::")) || line.contains(&format!("use {name}")))
        };
        for source in sources() {
            let found = source.text.lines().any(uses);
            assert!(!found || places.contains(&source.path.as_str()), "{} uses {name}", source.path);
        }
    }
}

#[test]
fn no_file_is_longer_than_600_lines() {
    for source in sources().iter().filter(|source| !source.path.ends_with("tests.rs")) {
        let lines = source.text.lines().count();
        assert!(lines <= 600, "{} has {lines} lines", source.path);
    }
}
