//! The model that a run leaves: where it lies, whether it is finished, and whether it is as the run wrote it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::contents::MODEL_FILES;
use super::lock::holder;
use super::manifest::{Manifest, Status, read_json};
use crate::error::{Error, Result};
use crate::files;

/// Runs of a comparison that a message names.
const NAMED: usize = 4;

/// The Hugging Face folder of the run at `path`.
pub fn model_folder(path: &Path) -> PathBuf {
    path.join("model")
}

/// The Hugging Face folder of the run at `path`; none where that is no run.
///
/// Errors: a comparison, a run that has not finished, a model that is not as the run wrote it (65).
pub fn finished_model(path: &Path) -> Result<Option<PathBuf>> {
    if !files::exists(&path.join("run.json"))? {
        return Ok(None);
    }
    let manifest: Manifest = read_json(path, "run.json")?;
    if manifest.phase == "compare" {
        return Err(is_comparison(path));
    }
    if let Some(why) = unfinished(path, &manifest) {
        return Err(Error::data(why));
    }
    check_model(path, &manifest)?;
    Ok(Some(model_folder(path)))
}

/// Why the run at `path` has no results yet and what to do; none where it is done.
pub fn unfinished(path: &Path, manifest: &Manifest) -> Option<String> {
    let run = format!("the run in {}", path.display());
    let what = match manifest.status {
        Status::Done => return None,
        Status::Running => "was killed",
        Status::Interrupted => "was stopped by a signal",
        Status::Failed => "failed",
    };
    Some(match holder(path) {
        Some(process) => format!("{run} is still running ({process}); wait for it"),
        None => format!("{run} {what} and has not finished; go on with it by --resume"),
    })
}

/// SHA-256 of the files of the model and the adapter of the run at `path`, but for their cards.
///
/// Errors: one cannot be read (66, 74).
pub fn model_sums(path: &Path) -> Result<BTreeMap<String, String>> {
    let mut sums = BTreeMap::new();
    for folder in ["model", "adapter"] {
        for name in MODEL_FILES.into_iter().filter(|name| *name != "README.md") {
            let name = format!("{folder}/{name}");
            let file = path.join(&name);
            if files::exists(&file)? {
                sums.insert(name, files::sha256_of(&file)?);
            }
        }
    }
    Ok(sums)
}

/// Compares the model of the finished run at `path` with the sums in its `run.json`; an older run has none.
///
/// Errors: a file is missing or not as the run wrote it (65).
pub fn check_model(path: &Path, manifest: &Manifest) -> Result<()> {
    let model = model_folder(path);
    let own = format!("name {} to take the model as it is", model.display());
    let again = format!("remove {} and end the run again with --resume", model.display());
    let hint = format!("put it back, {again}, or {own}");
    for (name, expected) in &manifest.model_sha256 {
        let file = path.join(name);
        if !files::exists(&file)? {
            let hint = "put it back, or end the run again with --resume";
            return Err(Error::data(format!("{} is missing; {hint}", file.display())));
        }
        let found = files::sha256_of(&file)?;
        if found != *expected {
            let (found, expected) = files::beginnings(&found, expected);
            let why = format!("is not as the run wrote it: found {found}, expected {expected}");
            return Err(Error::data(format!("{} {why}; {hint}", file.display())));
        }
    }
    if manifest.phase != "compare" && !files::exists(&model.join("config.json"))? {
        let hint = "put it back, or end the run again with --resume";
        return Err(Error::data(format!("{} has no config.json; {hint}", model.display())));
    }
    Ok(())
}

/// Whether a file of the model of the finished run at `path` is missing.
pub fn lacks_model(path: &Path, manifest: &Manifest) -> bool {
    let config = model_folder(path).join("config.json");
    !config.exists() || manifest.model_sha256.keys().any(|name| !path.join(name).exists())
}

/// The error of a comparison where a model is wanted: it names runs in it.
fn is_comparison(path: &Path) -> Error {
    let is_done = |run: &PathBuf| {
        let manifest: Result<Manifest> = read_json(run, "run.json");
        manifest.is_ok_and(|manifest| manifest.status == Status::Done) && model_folder(run).exists()
    };
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut runs: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_done).collect();
    runs.sort_by_key(|run| (!run.ends_with("pretrain"), run.clone()));
    let named: Vec<String> = runs.iter().take(NAMED).map(|run| run.display().to_string()).collect();
    let more = if runs.len() > NAMED { format!(" or {} more", runs.len() - NAMED) } else { String::new() };
    let hint = match named.is_empty() {
        true => "none of its runs is done yet".into(),
        false => format!("name one of its runs: {}{more}", named.join(", ")),
    };
    Error::data(format!("{} is a comparison of many models; {hint}", path.display()))
}
