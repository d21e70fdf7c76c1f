//! The project's own Rust files.

use std::path::Path;
use std::sync::OnceLock;

use proc_macro2::TokenStream;

use super::tokens::{self, CodePath, Function};
use crate::support::root;

/// One file.
pub struct Source {
    /// Relative to the root, with slashes.
    pub path: String,
    pub text: String,
    pub paths: Vec<CodePath>,
    pub functions: Vec<Function>,
    pub macros: Vec<String>,
}

impl Source {
    fn read(path: String) -> Self {
        let text = std::fs::read_to_string(root().join(&path)).unwrap();
        let stream: TokenStream = text.parse().unwrap_or_else(|cause| panic!("{path}: {cause}"));
        Self {
            path,
            text,
            paths: tokens::paths(&stream),
            functions: tokens::functions(&stream),
            macros: tokens::macros(&stream),
        }
    }

    /// Whether all of it is compiled for tests, benchmarks or examples alone.
    pub fn is_test(&self) -> bool {
        !self.path.starts_with("src/") || self.path.ends_with("tests.rs") || self.path.contains("/tests/")
    }

    /// Where a file of `src` is in the tree of modules: `src/ops/rope/mod.rs` is `ops`, `rope`.
    pub fn module(&self) -> Vec<String> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let parts = path.split('/').filter(|part| !["mod", "lib", "main"].contains(part));
        parts.map(str::to_string).collect()
    }
}

/// All files of `src`, `tests`, `benches` and `examples`, in order.
pub fn sources() -> &'static [Source] {
    static SOURCES: OnceLock<Vec<Source>> = OnceLock::new();
    SOURCES.get_or_init(|| {
        let mut paths = Vec::new();
        ["src", "tests", "benches", "examples"].iter().for_each(|folder| walk(folder, &mut paths));
        paths.sort();
        assert!(paths.len() > 100, "only {} files found", paths.len());
        paths.into_iter().map(Source::read).collect()
    })
}

fn walk(folder: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(root().join(folder)).into_iter().flatten() {
        let path = format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap());
        if root().join(&path).is_dir() {
            walk(&path, found);
        } else if Path::new(&path).extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
