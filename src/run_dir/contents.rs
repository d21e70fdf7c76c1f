//! What a run writes into its directory, and taking exactly that away.
//!
//! Clearing begins with a mark, so that one that was cut short is ended when the folder is opened again.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::manifest::{Manifest, read_json};
use crate::error::{Error, ErrorKind, Result};
use crate::{files, tensorboard};

/// Files of a model folder or adapter.
pub const MODEL_FILES: [&str; 9] = [
    "config.json",
    "model.safetensors",
    "adapter_config.json",
    "adapter_model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "README.md",
];

/// Files of a checkpoint.
pub const CHECKPOINT_FILES: [&str; 4] =
    ["state.json", "model.safetensors", "optimizer.safetensors", "best.safetensors"];

/// Files of a run, those first by which it is known as one.
const RUN_FILES: [&str; 14] = [
    "run.json",
    "results.json",
    "config.toml",
    "metrics.jsonl",
    DAMAGED_LINES,
    "predictions.jsonl",
    "validation_predictions.jsonl",
    "mistakes.jsonl",
    "ngrams.safetensors",
    "samples.jsonl",
    "audit.json",
    "left_out.txt",
    "report.html",
    "report.md",
];

/// Lines of the log that could not be read.
pub const DAMAGED_LINES: &str = "metrics.damaged";

/// Held by whoever writes the run.
pub const LOCK: &str = "run.lock";

/// While it is there the run is to be cleared; it says whether the run was a comparison.
const MARK: &str = "run.clearing";
const OF_RUN: &[u8] = b"run";
const OF_COMPARISON: &[u8] = b"comparison";

/// What a folder holds before a run is written into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing, or no folder.
    Empty,
    /// A run.
    Run,
    /// A run that was being cleared.
    Clearing,
    /// This file of a run, without `run.json`.
    Part(PathBuf),
    /// Files such as this one, which no run wrote.
    Other(PathBuf),
}

/// What the folder at `path` holds.
///
/// Errors: it cannot be read (66, 74).
pub fn standing(path: &Path) -> Result<Standing> {
    if marked(path)?.is_some() {
        return Ok(Standing::Clearing);
    }
    let manifest = path.join("run.json");
    if files::exists(&manifest)? {
        return Ok(if is_run(path)? { Standing::Run } else { Standing::Part(manifest) });
    }
    let mut files = Written::in_run(path, false)?.files.into_iter();
    if let Some(file) = files.find(|path| !files::is_temporary(path)) {
        return Ok(Standing::Part(file));
    }
    let other = |path: &PathBuf| !path.ends_with(LOCK) && !files::is_temporary(path);
    Ok(files::entries(path)?.into_iter().find(other).map_or(Standing::Empty, Standing::Other))
}

/// Whether the `run.json` at `path` is that of a run, be it damaged; others may have files of that name.
///
/// Errors: it is there and cannot be read (66, 74).
pub fn is_run(path: &Path) -> Result<bool> {
    let manifest = path.join("run.json");
    if !files::exists(&manifest)? {
        return Ok(false);
    }
    let value = serde_json::from_slice::<Value>(&files::read(&manifest)?);
    Ok(value.map_or(true, |value| value["phase"].is_string() && value["version"].is_string()))
}

/// The run that a file or folder at `path` belongs to, or will.
///
/// Errors: the working directory is gone (73); a `run.json` above cannot be read (66, 74).
pub fn run_around(path: &Path) -> Result<Option<PathBuf>> {
    let place = files::place_of(path)?;
    for folder in place.ancestors() {
        if is_run(folder)? {
            let below = place.strip_prefix(folder).unwrap_or(&place).components().next();
            let is_part = below.is_none_or(|name| {
                is_folder_of_a_run(name.as_ref(), &starts(folder))
                    || RUN_FILES.iter().any(|file| Path::new(file) == Path::new(&name))
            });
            return Ok(is_part.then(|| folder.to_path_buf()));
        }
    }
    Ok(None)
}

/// Whether a run has a folder of this name.
fn is_folder_of_a_run(name: &Path, starts: &[String]) -> bool {
    let names = ["model", "adapter", "tb", "checkpoints", "pretrain", "search", "baselines", "transfer"];
    names.iter().any(|own| name == Path::new(own)) || is_cell(name, starts)
}

/// Whether the run at `path` is a comparison; a damaged `run.json` does not say so.
pub fn is_comparison(path: &Path) -> bool {
    let manifest: Result<Manifest> = read_json(path, "run.json");
    manifest.is_ok_and(|manifest| manifest.phase == "compare")
}

/// Removes the checkpoints of the finished run at `path`.
///
/// Errors: they cannot be removed (73).
pub fn drop_checkpoints(path: &Path) -> Result<()> {
    let mut written = Written::default();
    written.add_checkpoints(path)?;
    written.remove()
}

/// Removes what a run wrote into the folder at `path`; the mark stays until `cleared`.
///
/// Errors: a file cannot be removed (73, 74).
pub fn clear(path: &Path) -> Result<()> {
    let comparison = match marked(path)? {
        Some(comparison) => comparison,
        None => {
            let comparison = is_comparison(path);
            mark(path, comparison)?;
            comparison
        }
    };
    Written::in_run(path, comparison)?.remove()
}

/// Errors: somebody else has a file of that name there, or it cannot be written (73, 74).
fn mark(path: &Path, comparison: bool) -> Result<()> {
    let mark = path.join(MARK);
    if marked(path)?.is_none() && files::exists(&mark)? {
        let why = format!("{} is there and no run wrote it; move it away", mark.display());
        return Err(Error::new(ErrorKind::Output, why));
    }
    files::write_atomic(&mark, if comparison { OF_COMPARISON } else { OF_RUN })
}

/// Whether what is marked to be cleared was a comparison; none where nothing is, be it that somebody else has a file of
/// that name.
fn marked(path: &Path) -> Result<Option<bool>> {
    let mark = path.join(MARK);
    if !is_file(&mark)? {
        return Ok(None);
    }
    Ok(match &files::read(&mark)?[..] {
        OF_RUN => Some(false),
        OF_COMPARISON => Some(true),
        _ => None,
    })
}

/// Marks the folder at `path`, which holds no run, as one whose content is to be cleared unless `cleared` is called.
///
/// Errors: it cannot be written (73, 74).
pub fn begin_filling(path: &Path) -> Result<()> {
    mark(path, false)
}

/// Takes the mark away: the folder may be used.
///
/// Errors: it cannot be removed (73, 74).
pub fn cleared(path: &Path) -> Result<()> {
    if marked(path)?.is_none() {
        return Ok(());
    }
    let mark = path.join(MARK);
    fs::remove_file(&mark).map_err(|cause| Error::writing(&mark, &cause))?;
    files::sync_parent(&mark)
}

/// Whether clearing the run at `path` would take away `input` or something in it.
pub fn would_clear(path: &Path, input: &Path) -> Result<bool> {
    let (Ok(folder), Ok(input)) = (path.canonicalize(), input.canonicalize()) else { return Ok(false) };
    if !input.starts_with(&folder) {
        return Ok(false);
    }
    let found = Written::in_run(&folder, is_comparison(&folder))?.files;
    Ok(found.iter().any(|file| file.starts_with(&input)))
}

/// Files that runs wrote, in the order to remove them, and the folders they lie in, inner ones first.
#[derive(Default)]
struct Written {
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

impl Written {
    /// Of the run at `path`; with those inside it where it is a comparison.
    fn in_run(path: &Path, comparison: bool) -> Result<Self> {
        let mut written = Self::default();
        written.add_run(path)?;
        if comparison {
            written.add_comparison(path)?;
        }
        Ok(written)
    }

    fn add_run(&mut self, path: &Path) -> Result<()> {
        self.add_files(path, &RUN_FILES)?;
        self.add_checkpoints(path)?;
        self.add_folder(path.join("model"), &MODEL_FILES)?;
        self.add_folder(path.join("adapter"), &MODEL_FILES)?;
        self.add_folder(path.join("tb"), &[tensorboard::FILE])
    }

    fn add_checkpoints(&mut self, path: &Path) -> Result<()> {
        let checkpoints = path.join("checkpoints");
        for folder in own_entries(&checkpoints)?.into_iter().filter(|path| step_of(path).is_some()) {
            self.add_folder(folder, &CHECKPOINT_FILES)?;
        }
        self.add_folder(checkpoints, &[])
    }

    fn add_comparison(&mut self, path: &Path) -> Result<()> {
        let (mut inner, starts) = (vec![path.join("pretrain")], starts(path));
        for below in ["", "search", "baselines", "transfer"] {
            inner.extend(own_entries(&path.join(below))?.into_iter().filter(|path| is_cell(path, &starts)));
        }
        for run in inner {
            self.add_run(&run)?;
            self.add_folder(run, &[LOCK, MARK])?;
        }
        let transfer = own_entries(&path.join("transfer"))?;
        for folder in transfer.into_iter().filter(|path| step_of(path).is_some()) {
            self.add_folder(folder, &MODEL_FILES)?;
        }
        self.folders.extend(["search", "baselines", "transfer"].map(|name| path.join(name)));
        Ok(())
    }

    fn add_folder(&mut self, folder: PathBuf, names: &[&str]) -> Result<()> {
        if folder.is_symlink() {
            self.files.push(folder);
            return Ok(());
        }
        self.add_files(&folder, names)?;
        self.folders.push(folder);
        Ok(())
    }

    /// Files of these names, and temporaries.
    fn add_files(&mut self, folder: &Path, names: &[&str]) -> Result<()> {
        for path in names.iter().map(|name| folder.join(name)) {
            if is_file(&path)? {
                self.files.push(path);
            }
        }
        self.files.extend(files::entries(folder)?.into_iter().filter(|path| files::is_temporary(path)));
        Ok(())
    }

    fn remove(self) -> Result<()> {
        for path in self.files {
            let removed = if is_file(&path)? { fs::remove_file(&path) } else { fs::remove_dir_all(&path) };
            removed.map_err(|cause| Error::writing(&path, &cause))?;
        }
        for folder in self.folders {
            // What is not empty holds files of others and stays.
            if fs::remove_dir(&folder).is_err() && folder.is_dir() {
                files::sync_parent(&folder.join("x"))?;
            }
        }
        Ok(())
    }
}

/// What is in the folder, unless a link leads to it.
fn own_entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if folder.is_symlink() { Ok(Vec::new()) } else { files::entries(folder) }
}

/// A file or a link; what a link leads to is never removed.
///
/// Errors: that cannot be known (66, 74).
fn is_file(path: &Path) -> Result<bool> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    match fs::symlink_metadata(path) {
        Ok(data) => Ok(!data.is_dir()),
        Err(cause) if matches!(cause.kind(), NotFound | NotADirectory) => Ok(false),
        Err(cause) => Err(Error::reading(path, &cause)),
    }
}

/// The step in the name of a checkpoint, such as `step_000500`.
pub fn step_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix("step_")?.parse().ok()
}

/// Names of the further starts of the comparison at `path`, as its config has them; none where that is damaged.
fn starts(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path.join("config.toml")).unwrap_or_default();
    let config: toml::Table = toml::from_str(&text).unwrap_or_default();
    let starts = config.get("starts").and_then(toml::Value::as_table);
    starts.map(|starts| starts.keys().cloned().collect()).unwrap_or_default()
}

/// Whether a comparison with these further starts names the folder of a run so: by arm or checkpoint, by budget, and by
/// seed, fold or setting.
fn is_cell(path: &Path, starts: &[String]) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let parts: Vec<&str> = name.split('-').collect();
    let is_start = |kind: &str| starts.iter().any(|name| name == kind.trim_end_matches("_ngrams"));
    let is_kind = |kind: &str| KINDS.contains(&kind) || is_start(kind) || step_of(Path::new(kind)).is_some();
    let is_budget = |budget: &str| budget == "all" || budget.parse::<u64>().is_ok();
    let is_setting = |part: &&str| {
        let names = ["seed", "fold", "of", "lr", "epochs", "head"];
        let value = names.into_iter().find_map(|name| part.strip_prefix(name));
        value.is_some_and(|value| value.parse::<f64>().is_ok())
    };
    // The name of a start may have hyphens too.
    (1..parts.len().saturating_sub(1)).any(|budget| {
        let settings = &parts[budget + 1..];
        is_kind(&parts[..budget].join("-")) && is_budget(parts[budget]) && settings.iter().all(is_setting)
    })
}

/// What the names of the runs in a comparison begin with, but for further starts.
const KINDS: [&str; 9] = [
    "pretrained",
    "scratch",
    "scratch_matched",
    "pretrained_ngrams",
    "scratch_ngrams",
    "char_svm",
    "char_ngram",
    "word_ngram",
    "majority",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runs_of_a_comparison_are_known_by_their_names() {
        let known = [
            "pretrained-20-seed1",
            "scratch_matched-all-seed12",
            "baselines/scratch_ngrams-20-seed1",
            "search/scratch-all-lr0.001-epochs2-head0",
            "search/all-minilm-all-lr0.001-seed10-of9-fold4",
            "baselines/all-minilm_ngrams-100-seed1-fold2",
            "all-minilm-100-seed1",
        ];
        let starts = ["all-minilm".to_string()];
        let others =
            ["pretrained", "scratch-20", "pretrained-20-seed1-backup", "mine-20-seed1", "scratch-some-seed1"];
        assert!(known.iter().all(|name| is_cell(Path::new(name), &starts)));
        assert!(is_cell(Path::new("transfer/step_000004-20-seed1"), &[]));
        assert!(!others.iter().any(|name| is_cell(Path::new(name), &starts)));
    }
}
