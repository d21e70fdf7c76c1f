//! `run.json`: how a run was made and how far it came.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files;

/// `status` in run.json.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Started; after a crash it stays so.
    Running,
    /// Results are complete.
    Done,
    /// Stopped by a signal with a checkpoint saved.
    Interrupted,
    /// Ended with an error.
    Failed,
}

/// `run.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Command, such as `pretrain`.
    pub phase: String,
    /// Version of this program.
    pub version: String,
    /// Commit it was built from, where known.
    pub git_commit: String,
    /// The command line as typed.
    pub command_line: Vec<String>,
    /// Seed of the run.
    pub seed: u64,
    /// Device the run used.
    pub device: String,
    /// CPU threads.
    pub threads: usize,
    /// SHA-256 of the training data.
    pub data_sha256: String,
    /// SHA-256 of tokenizer.json.
    pub tokenizer_sha256: String,
    /// `scratch`, or SHA-256 over the weights that training started from; empty where an older version did not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub start_sha256: String,
    /// Where the weights came from.
    pub init_from: String,
    /// Commit of each source on the Hub.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hub_commits: BTreeMap<String, String>,
    /// Scalars of the model, those of adapters included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<usize>,
    /// Scalars that are trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trainable_parameters: Option<usize>,
    /// SHA-256 of the files of the model and the adapter, by their path below the run directory; none before it is done.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub model_sha256: BTreeMap<String, String>,
    /// Seconds since 1970 at the start.
    pub started_at: u64,
    /// Seconds that a comparison has taken, over all starts, up to the last run in it that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_secs: Option<f64>,
    /// How far it came.
    pub status: Status,
}

impl Manifest {
    /// A manifest of a run that starts now, on `device`.
    pub fn new(phase: &str, seed: u64, device: &str, threads: usize, init_from: &str) -> Self {
        Self {
            phase: phase.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            git_commit: option_env!("TRAIN_GIT_COMMIT").unwrap_or("unknown").into(),
            command_line: std::env::args().collect(),
            seed,
            device: device.into(),
            threads,
            data_sha256: String::new(),
            tokenizer_sha256: String::new(),
            start_sha256: String::new(),
            init_from: init_from.into(),
            hub_commits: BTreeMap::new(),
            parameters: None,
            trainable_parameters: None,
            model_sha256: BTreeMap::new(),
            wall_secs: None,
            started_at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
            status: Status::Running,
        }
    }

    /// Whether this very program made the run.
    pub fn is_of_this_program(&self) -> bool {
        self.program() == Self::new("", 0, "", 0, "").program()
    }

    /// Version and commit of the program that made the run.
    pub fn program(&self) -> String {
        format!("train {} ({})", self.version, self.git_commit)
    }
}

/// Reads a JSON file of a run, such as `results.json`.
///
/// Errors: missing (66), not what this program wrote (65).
pub fn read_json<T: DeserializeOwned>(path: &Path, name: &str) -> Result<T> {
    let file = path.join(name);
    let bytes = files::read(&file)?;
    serde_json::from_slice(&bytes)
        .map_err(|cause| Error::data(format!("{} is damaged: {cause}", file.display())))
}

/// Whether the run at `path` has complete results.
pub fn is_done(path: &Path) -> bool {
    read_json::<Manifest>(path, "run.json").is_ok_and(|manifest| manifest.status == Status::Done)
}
