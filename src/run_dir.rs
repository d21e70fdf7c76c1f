//! The run directory: file names, lock, manifest, metrics log.
//!
//! Layer 0. Everything a run leaves behind goes through here, so reports can find it again.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::{files, tensorboard};

/// What to do when the directory already holds a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Refuse (exit 73).
    Refuse,
    /// Go on from its newest checkpoint.
    Resume,
    /// Replace it.
    Overwrite,
}

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
    /// Seconds since 1970 at the start.
    pub started_at: u64,
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
            init_from: init_from.into(),
            hub_commits: BTreeMap::new(),
            parameters: None,
            trainable_parameters: None,
            started_at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
            status: Status::Running,
        }
    }
}

/// An open run directory; the lock lasts as long as this value.
pub struct RunDir {
    path: PathBuf,
    _lock: File,
}

impl RunDir {
    /// Opens `path` for writing a run.
    ///
    /// Errors (all exit 73): it cannot be created or written, another process holds it, it already holds a
    /// run and `existing` is `Refuse`.
    pub fn open(path: &Path, existing: Existing) -> Result<Self> {
        let cannot = |cause: &std::io::Error| {
            let hint = "choose another output_dir or fix its permissions";
            Error::new(
                ErrorKind::Output,
                format!("cannot create output_dir {}: {cause}; {hint}", path.display()),
            )
        };
        fs::create_dir_all(path).map_err(|cause| cannot(&cause))?;
        let lock = lock(path, cannot)?;
        let dir = Self { path: path.to_path_buf(), _lock: lock };
        if dir.run_json().exists() {
            match existing {
                // An old run is removed by `clear`, once it is sure that the new one can begin.
                Existing::Resume | Existing::Overwrite => {}
                Existing::Refuse => {
                    let hint =
                        "use --resume to go on with it, --overwrite to replace it, or another output_dir";
                    let why = format!("output_dir {} already holds a run; {hint}", path.display());
                    return Err(Error::new(ErrorKind::Output, why));
                }
            }
        }
        Ok(dir)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Last part of its path, such as `demo-pretrain`.
    pub fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or("model")
    }

    /// `checkpoints/`.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// `model/`, the result in Hugging Face layout.
    pub fn model(&self) -> PathBuf {
        model_folder(&self.path)
    }

    /// `adapter/`, what LoRA trained as PEFT stores it.
    pub fn adapter(&self) -> PathBuf {
        self.path.join("adapter")
    }

    /// `config.toml`, the resolved config.
    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    fn run_json(&self) -> PathBuf {
        self.path.join("run.json")
    }

    /// Writes `run.json`.
    pub fn write_manifest(&self, manifest: &Manifest) -> Result<()> {
        self.write_json("run.json", manifest)
    }

    /// Writes `value` as `name`, whole or not at all.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let mut json =
            serde_json::to_vec_pretty(value).map_err(|cause| Error::data(format!("{name}: {cause}")))?;
        json.push(b'\n');
        files::write_atomic(&self.path.join(name), &json)
    }

    /// Appends one event to `metrics.jsonl` and to the TensorBoard file; both are opened anew, so a rotated log
    /// does no harm.
    pub fn log(&self, event: &Map<String, Value>) -> Result<()> {
        let path = self.path.join("metrics.jsonl");
        let mut line = Value::Object(event.clone()).to_string();
        line.push('\n');
        let open = OpenOptions::new().create(true).append(true).open(&path);
        open.and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(|cause| Error::writing(&path, &cause))?;
        tensorboard::append(&self.tensorboard(), event)
    }

    /// `tb/`, the log as TensorBoard reads it.
    fn tensorboard(&self) -> PathBuf {
        self.path.join("tb")
    }

    /// Drops events after `step` and a last line cut short, so that a resumed run logs each step once; the events that
    /// are left.
    pub fn rewind_log(&self, step: u64) -> Result<Vec<Map<String, Value>>> {
        let path = self.path.join("metrics.jsonl");
        let Ok(file) = File::open(&path) else { return Ok(Vec::new()) };
        let (mut kept, mut events) = (String::new(), Vec::new());
        for line in BufReader::new(file).lines().map_while(std::result::Result::ok) {
            let event: Option<Map<String, Value>> = serde_json::from_str(&line).ok();
            let at = |event: &Map<String, Value>| event.get("step").and_then(Value::as_u64);
            if let Some(event) = event.filter(|event| at(event).is_none_or(|at| at <= step)) {
                kept.push_str(&line);
                kept.push('\n');
                events.push(event);
            }
        }
        tensorboard::rewrite(&self.tensorboard(), &events)?;
        files::write_atomic(&path, kept.as_bytes())?;
        Ok(events)
    }

    /// Removes the run that is there.
    pub fn clear(&self) -> Result<()> {
        let entries = fs::read_dir(&self.path).map_err(|cause| Error::reading(&self.path, &cause))?;
        for entry in entries.flatten() {
            let path = entry.path();
            if path.file_name().is_some_and(|name| name == "run.lock") {
                continue;
            }
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(|cause| Error::writing(&path, &cause))?;
        }
        Ok(())
    }
}

/// Takes `run.lock` in `path`; the operating system frees it when the process ends, however it ends.
fn lock(path: &Path, cannot: impl Fn(&std::io::Error) -> Error) -> Result<File> {
    let name = path.join("run.lock");
    let options = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&name);
    let mut file = options.map_err(|cause| cannot(&cause))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Best effort: the number only makes the message more helpful.
            let _ = file.read_to_string(&mut holder);
            let why = format!("output_dir {} is locked by process {}", path.display(), holder.trim());
            return Err(Error::new(
                ErrorKind::Output,
                format!("{why}; wait for it or choose another output_dir"),
            ));
        }
        Err(TryLockError::Error(cause)) => return Err(cannot(&cause)),
    }
    let pid = std::process::id().to_string();
    file.set_len(0).and_then(|()| file.write_all(pid.as_bytes())).map_err(|cause| cannot(&cause))?;
    Ok(file)
}

/// The Hugging Face folder of the run at `path`.
pub fn model_folder(path: &Path) -> PathBuf {
    path.join("model")
}

/// The Hugging Face folder of the run at `path`; none where that is no run.
///
/// Errors: the run has not finished (65).
pub fn finished_model(path: &Path) -> Result<Option<PathBuf>> {
    let folder = model_folder(path);
    if !path.join("run.json").exists() {
        return Ok(None);
    }
    if folder.join("config.json").exists() {
        return Ok(Some(folder));
    }
    let why = format!("the run in {} has not finished; go on with it by --resume", path.display());
    Err(Error::data(why))
}

/// Reads a JSON file of a run, such as `results.json`.
///
/// Errors: missing (66), not what this program wrote (65).
pub fn read_json<T: DeserializeOwned>(path: &Path, name: &str) -> Result<T> {
    let file = path.join(name);
    let bytes = files::read(&file)?;
    serde_json::from_slice(&bytes).map_err(|cause| Error::data(format!("{}: {cause}", file.display())))
}

/// Copies the finished run at `from` to `to`, without its checkpoints and with another config.toml. `run.json` comes
/// last, so the copy is a finished run or none.
pub fn copy_run(from: &Path, to: &Path, config: &str) -> Result<()> {
    copy_files(from, to, &["run.json", "run.lock", "config.toml", "checkpoints"])?;
    files::write_atomic(&to.join("config.toml"), config.as_bytes())?;
    files::write_atomic(&to.join("run.json"), &files::read(&from.join("run.json"))?)
}

fn copy_files(from: &Path, to: &Path, but: &[&str]) -> Result<()> {
    fs::create_dir_all(to).map_err(|cause| Error::writing(to, &cause))?;
    for entry in fs::read_dir(from).map_err(|cause| Error::reading(from, &cause))? {
        let name = entry.map_err(|cause| Error::reading(from, &cause))?.file_name();
        let (old, new) = (from.join(&name), to.join(&name));
        if but.iter().any(|but| name == *but) {
            continue;
        }
        match old.is_dir() {
            true => copy_files(&old, &new, &[])?,
            false => files::write_synced(&new, &files::read(&old)?)?,
        }
    }
    Ok(())
}

/// Whether the run at `path` has complete results.
pub fn is_done(path: &Path) -> bool {
    read_json::<Manifest>(path, "run.json").is_ok_and(|manifest| manifest.status == Status::Done)
}
