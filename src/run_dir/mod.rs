//! The run directory: file names, lock, manifest, metrics log.
//!
//! Layer 0. Everything a run leaves behind goes through here, so reports can find it again. Nothing but what a run wrote
//! is removed.

mod contents;
mod folders;
mod lock;
mod log;
mod manifest;
mod model;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};

pub use self::contents::{
    CHECKPOINT_FILES, DAMAGED_LINES, MODEL_FILES, drop_checkpoints, is_run, run_around, step_of, would_clear,
};
use self::contents::{Standing, begin_filling, clear, cleared, standing};
pub use self::folders::replace_folder;
pub use self::log::{Event, Line, Lines};
pub use self::manifest::{Manifest, Status, is_done, read_json};
use self::model::model_folder;
pub use self::model::{check_model, finished_model, lacks_model, model_sums, unfinished};
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

/// An open run directory; the lock lasts as long as this value.
pub struct RunDir {
    path: PathBuf,
    _lock: File,
}

impl RunDir {
    /// Opens `path` for writing a run. A clearing that was cut short is ended here.
    ///
    /// Errors: an empty path (2); it cannot be created or written, another process holds it, it already holds a run and
    /// `existing` is `Refuse`, it holds other files that stand in the way (73).
    pub fn open(path: &Path, existing: Existing) -> Result<Self> {
        if path.as_os_str().is_empty() {
            return Err(Error::usage("output_dir is empty; name a folder, such as runs/mine"));
        }
        let cannot = |cause: &std::io::Error| {
            let (kind, hint) = match Error::writing(path, cause).kind {
                ErrorKind::Output => (ErrorKind::Output, "choose another output_dir or fix its permissions"),
                kind => (kind, "choose another output_dir, or free what is missing"),
            };
            Error::new(kind, format!("cannot create output_dir {}: {cause}; {hint}", path.display()))
        };
        // Before anything is written: a folder of somebody else gets no lock file.
        may_hold_a_run(path, existing)?;
        fs::create_dir_all(path).map_err(|cause| cannot(&cause))?;
        let lock = lock::lock(path, cannot)?;
        let dir = Self { path: path.to_path_buf(), _lock: lock };
        for folder in [path.into(), dir.checkpoints(), dir.model(), dir.adapter(), path.join("tb")] {
            files::sweep(&folder);
        }
        for folder in [dir.model(), dir.adapter()] {
            folders::settle(&folder, &MODEL_FILES)?;
        }
        folders::settle_all(&dir.checkpoints(), &CHECKPOINT_FILES)?;
        if standing(path)? == Standing::Clearing {
            clear(path)?;
        }
        may_hold_a_run(path, existing)?;
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

    /// Its manifest; none where no run is there.
    ///
    /// Errors: `run.json` is damaged (65).
    pub fn manifest(&self) -> Result<Option<Manifest>> {
        let there = files::exists(&self.path.join("run.json"))?;
        there.then(|| read_json(&self.path, "run.json")).transpose()
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

    /// Begins a run with its manifest and config; with `replacing` the run that is there gives way first. The manifest
    /// comes before the config: a folder with a config alone is not known to be a run.
    ///
    /// Errors: a file cannot be removed or written (73, 74).
    pub fn begin(&self, replacing: bool, manifest: &Manifest, config: &str) -> Result<()> {
        if replacing && standing(&self.path)? == Standing::Run {
            clear(&self.path)?;
        }
        self.write_manifest(manifest)?;
        files::write_atomic(&self.config(), config.as_bytes())?;
        cleared(&self.path)
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
        tensorboard::append(&self.path.join("tb"), event)
    }

    /// Makes the events so far survive a power cut.
    pub fn sync_log(&self) -> Result<()> {
        log::sync(&self.path)
    }

    /// Drops events after `step` and a last line cut short, so that a resumed run logs each step once. Returns what
    /// `keep` makes of the events that are left, and how many damaged lines went to [`DAMAGED_LINES`].
    ///
    /// Errors: the log cannot be read or written (66, 73, 74).
    pub fn rewind_log<T>(&self, step: u64, keep: impl Fn(&Event) -> Option<T>) -> Result<(Vec<T>, usize)> {
        log::rewind(&self.path, step, keep)
    }
}

/// Errors: what is at `path` stands in the way of a run that deals so with what is there (73).
fn may_hold_a_run(path: &Path, existing: Existing) -> Result<()> {
    let refused =
        |why: String| Err(Error::new(ErrorKind::Output, format!("output_dir {} {why}", path.display())));
    match (standing(path)?, existing) {
        (Standing::Run, Existing::Refuse) => {
            let hint = "use --resume to go on with it, --overwrite to replace it, or another output_dir";
            refused(format!("already holds a run; {hint}"))
        }
        // Its config says what run it is, whatever became of its manifest.
        (Standing::Part(_), Existing::Resume)
            if files::exists(&path.join("config.toml"))? && files::exists(&path.join("checkpoints"))? =>
        {
            Ok(())
        }
        (Standing::Part(file), _) if file.ends_with("run.json") => {
            refused("holds a run.json that no run wrote; move it away or choose another output_dir".into())
        }
        (Standing::Part(file), _) => {
            let what = file.strip_prefix(path).unwrap_or(&file).display();
            let why = "so it is not known what wrote it; move it away or choose another output_dir";
            refused(format!("holds {what} but no run.json, {why}"))
        }
        (Standing::Other(file), Existing::Overwrite) => {
            let what = file.strip_prefix(path).unwrap_or(&file).display();
            let hint = "leave --overwrite out or choose another output_dir";
            refused(format!("holds {what} and no run, and --overwrite replaces runs alone; {hint}"))
        }
        _ => Ok(()),
    }
}

/// Copies the finished run at `from` to `to`, without its checkpoints and with another config.toml. A copy that is cut
/// short is cleared when the folder is opened.
///
/// Errors: a file cannot be read or written (66, 73, 74).
pub fn copy_run(from: &Path, to: &Path, config: &str) -> Result<()> {
    fs::create_dir_all(to).map_err(|cause| Error::writing(to, &cause))?;
    if matches!(standing(to)?, Standing::Run | Standing::Clearing) {
        clear(to)?;
    }
    begin_filling(to)?;
    copy_files(from, to, &["run.json", "run.lock", "config.toml", "checkpoints"])?;
    files::write_atomic(&to.join("config.toml"), config.as_bytes())?;
    files::write_atomic(&to.join("run.json"), &files::read(&from.join("run.json"))?)?;
    cleared(to)
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
