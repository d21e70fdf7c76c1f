//! How a run was run.

use std::path::Path;

use crate::run_dir::{Manifest, read_json};

/// What a report says about a run beside its results.
#[derive(Clone, Debug)]
pub struct RunFacts {
    /// `run.json`; none where it is missing or damaged.
    pub manifest: Option<Manifest>,
    /// `config.toml`, every key; empty where it is missing.
    pub config: String,
}

impl RunFacts {
    /// Of the run stored at `path`.
    pub fn read(path: &Path) -> Self {
        Self {
            manifest: read_json(path, "run.json").ok(),
            config: std::fs::read_to_string(path.join("config.toml")).unwrap_or_default(),
        }
    }
}
