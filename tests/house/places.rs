//! What is where: the files of an operation, and those that the documents name.

use std::path::{Path, PathBuf};

use super::layers::layers;
use crate::support::root;

/// Folders of `src/ops` that are not an operation.
const SHARED: &[&str] = &["base", "kernel_checks"];

/// Files that an operation does without: folder, file, and why.
const WITHOUT: &[[&str; 3]] = &[
    ["add", "cuda.cu", "its kernel adds gradients up too and stands in base/cuda"],
    ["add_columns", "cuda.cu", "on a GPU it runs as its reference"],
    ["add_columns", "cuda.rs", "as above"],
    ["concat", "reference.rs", "it is one of candle's copies forward and views of the gradient backward"],
    ["concat", "cpu.rs", "as above"],
    ["concat", "cuda.rs", "as above"],
    ["concat", "cuda.cu", "as above"],
    ["dropout_mask", "reference.rs", "it draws bits, the same on every device, and has no gradient"],
    ["head_cross_entropy", "cuda.cu", "on a GPU it is products and the kernels of cross_entropy"],
    ["multiply", "reference.rs", "it is one of candle's products forward and one backward"],
    ["multiply", "cpu.rs", "as above"],
    ["multiply", "cuda.rs", "as above"],
    ["multiply", "cuda.cu", "as above"],
    ["muon", "cuda.cu", "on a GPU the reference runs, whose time is that of products"],
    ["tanh", "reference.rs", "it acts on a row for each text, by candle's ops"],
    ["tanh", "cpu.rs", "as above"],
    ["tanh", "cuda.rs", "as above"],
    ["tanh", "cuda.cu", "as above"],
    ["weighted_sum", "reference.rs", "it is a product and a sum of candle's forward and a product backward"],
    ["weighted_sum", "cpu.rs", "as above"],
    ["weighted_sum", "cuda.rs", "as above"],
    ["weighted_sum", "cuda.cu", "as above"],
];

#[test]
fn every_operation_has_the_same_files() {
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(root().join("src/ops")).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if !entry.path().is_dir() || SHARED.contains(&name.as_str()) {
            continue;
        }
        for file in ["mod.rs", "reference.rs", "cpu.rs", "cuda.rs", "cuda.cu", "tests.rs"] {
            let excused = WITHOUT.iter().any(|[op, without, _]| *op == name && *without == file);
            if entry.path().join(file).is_file() == excused {
                wrong.push(format!("{name}/{file}"));
            }
        }
    }
    assert!(wrong.is_empty(), "missing, or excused for nothing: {wrong:#?}");
}

/// The lines of the code block of the README that shows the file tree.
fn tree() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let blocks = readme.split("```").skip(1).step_by(2);
    let mut trees = blocks.filter(|block| block.lines().any(|line| line.starts_with("src/")));
    let tree = trees.next().expect("README.md has a code block with lines that begin with src/");
    tree.lines().skip(1).map(str::to_string).collect()
}

#[test]
fn the_tree_of_the_readme_is_that_of_the_files() {
    let tree = tree();
    let paths: Vec<&str> = tree.iter().filter_map(|line| line.split_whitespace().next()).collect();
    let gone = paths.iter().filter(|path| path.contains('/') && !root().join(path).exists());
    let mut wrong: Vec<String> = gone.map(|path| format!("{path} is not there")).collect();
    for module in layers().keys().map(String::as_str).chain(["main"]) {
        let named = [format!("src/{module}.rs"), format!("src/{module}/")];
        let is_named = paths.iter().any(|path| named.iter().any(|name| path.starts_with(name)));
        if !is_named {
            wrong.push(format!("neither {} nor {} is in it", named[0], named[1]));
        }
    }
    assert!(wrong.is_empty(), "the tree of README.md: {wrong:#?}");
}

fn documents(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            documents(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

#[test]
fn links_between_documents_lead_to_files() {
    let mut found = ["README.md", "ARCHITECTURE.md", "SECURITY.md", "fuzz/README.md"]
        .map(|name| root().join(name))
        .to_vec();
    for folder in ["docs", "configs", "data", "scripts"] {
        documents(&root().join(folder), &mut found);
    }
    let mut wrong = Vec::new();
    for document in found {
        let text = std::fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains("://") {
                let target = document.parent().unwrap().join(path);
                if !target.exists() {
                    wrong.push(format!("{} links to {link}", document.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
