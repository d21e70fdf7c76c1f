//! Checkpoints: everything a run needs to go on bit for bit, in a folder that is complete or absent.
//!
//! Layer 4. `checkpoints/step_000500/` holds model, optimizer, the best weights so far and `state.json` with
//! the SHA-256 of each file. It is written under another name, synced, then renamed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files;
use crate::model::Weights;
use crate::optim::LossWatch;
use crate::tensor_file;

/// Layout of the folder; another number is refused.
const FORMAT_VERSION: u32 = 1;

/// Counters of a run. With the seed they determine data order, dropout and learning rate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// Optimizer updates done.
    pub step: u64,
    /// Stage of the training, counted from 0.
    #[serde(default)]
    pub stage: usize,
    /// Step at which that stage began. Older checkpoints count here the steps of the first of two stages.
    #[serde(default, rename = "head_only_steps")]
    pub stage_start: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Seconds of training so far, over all starts.
    pub elapsed_secs: f64,
    /// Best evaluation so far.
    pub best: Option<Best>,
    /// Evaluations since the best one.
    pub evals_since_best: u64,
    /// Training loss per evaluation, averaged since the one before; then validation loss.
    pub history: Vec<(f64, f64)>,
    /// Sum of training losses since the last evaluation and their number.
    pub loss_since_eval: (f64, u64),
    /// A signal cut the evaluation after this step short.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub evaluation_due: bool,
    /// Steps of the stage that updated nothing because of loss spikes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped_updates: u64,
    /// Steps whose batches were left out because of loss spikes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub steps_left_out: u64,
    /// Returns to a checkpoint because of loss spikes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub returns: u64,
    /// The newest losses.
    #[serde(default)]
    pub watch: LossWatch,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Counters {
    /// These counters, where an older checkpoint holds them, which knows no stage.
    fn with_stage(mut self) -> Self {
        if self.stage == 0 && self.stage_start > 0 {
            // In the first of two stages all steps are its own.
            let first = self.stage_start == self.step;
            (self.stage, self.stage_start) = if first { (0, 0) } else { (1, self.stage_start) };
        }
        self
    }
}

/// The evaluation whose weights are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Step it was taken at.
    pub step: u64,
    /// Higher is better.
    pub score: f64,
}

/// What must be the same for a resumed run to be the same run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fingerprints {
    /// SHA-256 over the training data.
    pub data: String,
    /// SHA-256 of tokenizer.json.
    pub tokenizer: String,
    /// SHA-256 over the parameters that are not trained, which no checkpoint holds; empty where all are.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub frozen: String,
}

#[derive(Serialize, Deserialize)]
struct State {
    format_version: u32,
    counters: Counters,
    fingerprints: Fingerprints,
    sha256: BTreeMap<String, String>,
}

/// A checkpoint in memory.
pub struct Checkpoint {
    /// Where the run stands.
    pub counters: Counters,
    /// What it was trained on.
    pub fingerprints: Fingerprints,
    /// The trained parameters by name.
    pub model: Weights,
    /// AdamW moments by parameter name.
    pub optimizer: Weights,
    /// The same at the best evaluation.
    pub best: Option<Weights>,
}

impl Checkpoint {
    /// Saves into `folder/step_NNNNNN` and removes all but the newest `keep` (0 keeps all). While the loss rises, the
    /// newest one from before stays too.
    ///
    /// Errors: the disk refuses (73, 74); whatever was there before still stands.
    pub fn save(&self, folder: &Path, keep: usize) -> Result<PathBuf> {
        let target = folder_of(folder, self.counters.step);
        let temporary = folder.join(format!(".step_{:06}.tmp", self.counters.step));
        if target.exists() {
            // A resumed run that stops before its first step is where it was.
            return Ok(target);
        }
        if temporary.exists() {
            fs::remove_dir_all(&temporary).map_err(|cause| Error::writing(&temporary, &cause))?;
        }
        fs::create_dir_all(&temporary).map_err(|cause| Error::writing(&temporary, &cause))?;
        self.write_files(&temporary).inspect_err(|_| {
            // Best effort: the next save clears it too.
            let _ = fs::remove_dir_all(&temporary);
        })?;
        fs::rename(&temporary, &target).map_err(|cause| Error::writing(&target, &cause))?;
        files::sync_parent(&target)?;
        let watch = &self.counters.watch;
        remove_old(folder, keep, watch.sound_checkpoint().filter(|_| watch.rises()))?;
        Ok(target)
    }

    fn write_files(&self, folder: &Path) -> Result<()> {
        let mut sha256 = BTreeMap::new();
        let parts = [
            ("model", Some(&self.model)),
            ("optimizer", Some(&self.optimizer)),
            ("best", self.best.as_ref()),
        ];
        for (name, tensors) in parts {
            if let Some(tensors) = tensors {
                let file = format!("{name}.safetensors");
                sha256.insert(file.clone(), tensor_file::write(&folder.join(&file), tensors)?);
            }
        }
        let state = State {
            format_version: FORMAT_VERSION,
            counters: self.counters.clone(),
            fingerprints: self.fingerprints.clone(),
            sha256,
        };
        let json = serde_json::to_vec_pretty(&state).map_err(Error::data)?;
        files::write_synced(&folder.join("state.json"), &json)?;
        files::sync_parent(&folder.join("state.json"))
    }

    /// Loads and verifies the checkpoint in `folder`.
    ///
    /// Errors: another format, a missing file, a checksum or header that does not fit (65), each naming the
    /// file and the older checkpoint to fall back to.
    pub fn load(folder: &Path) -> Result<Self> {
        let state_file = folder.join("state.json");
        let state_bytes = files::read(&state_file).map_err(|cause| incomplete(folder, &cause))?;
        let state: State = serde_json::from_slice(&state_bytes).map_err(|cause| {
            Error::data(format!("{} is damaged: {cause}; {}", state_file.display(), fallback(folder)))
        })?;
        if state.format_version != FORMAT_VERSION {
            let found = state.format_version;
            let why = format!("checkpoint format {found}, this program reads {FORMAT_VERSION}");
            return Err(Error::data(format!(
                "{}: {why}; use the version that wrote it",
                state_file.display()
            )));
        }
        let mut parts = BTreeMap::new();
        for (name, expected) in &state.sha256 {
            let path = folder.join(name);
            let bytes = files::read(&path).map_err(|cause| incomplete(folder, &cause))?;
            let found = files::sha256(&bytes);
            if found != *expected {
                let why = format!("checksum of {} ({} bytes) differs", path.display(), bytes.len());
                let hashes =
                    format!("found {}, expected {}", &found[..12], &expected[..12.min(expected.len())]);
                return Err(Error::data(format!("{why}: {hashes}; {}", fallback(folder))));
            }
            parts.insert(name.clone(), tensor_file::parse(&path, &bytes, |_| true)?);
        }
        let mut part = |name: &str| {
            let tensors = parts.remove(&format!("{name}.safetensors"));
            tensors
                .ok_or_else(|| Error::data(format!("{} lists no {name}.safetensors", state_file.display())))
        };
        let (model, optimizer) = (part("model")?, part("optimizer")?);
        let best = part("best").ok();
        let counters = state.counters.with_stage();
        Ok(Self { counters, fingerprints: state.fingerprints, model, optimizer, best })
    }
}

/// Where the checkpoint of a step stands in `folder`.
pub fn folder_of(folder: &Path, step: u64) -> PathBuf {
    folder.join(format!("step_{step:06}"))
}

/// Complete checkpoints in `folder`, oldest first; unfinished ones have another name and are not seen.
pub fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_step = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.strip_prefix("step_").is_some_and(|n| n.parse::<u64>().is_ok())
    };
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_step).collect();
    found.sort_by_key(|path| step_of(path));
    found
}

fn step_of(path: &Path) -> u64 {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.trim_start_matches("step_").parse().unwrap_or(0)
}

fn remove_old(folder: &Path, keep: usize, but: Option<u64>) -> Result<()> {
    let found = list(folder);
    let surplus = if keep == 0 { 0 } else { found.len().saturating_sub(keep) };
    for path in found[..surplus].iter().filter(|path| but != Some(step_of(path))) {
        fs::remove_dir_all(path).map_err(|cause| Error::writing(path, &cause))?;
    }
    Ok(())
}

/// A file that belongs to the checkpoint in `folder` cannot be read.
fn incomplete(folder: &Path, cause: &Error) -> Error {
    Error::data(format!("checkpoint {} is incomplete: {cause}; {}", folder.display(), fallback(folder)))
}

/// What to do when the checkpoint in `folder` cannot be used.
fn fallback(folder: &Path) -> String {
    let older = folder.parent().map(list).unwrap_or_default();
    match older.iter().rev().find(|path| step_of(path) < step_of(folder)) {
        Some(path) => format!("remove {} to go on from {}", folder.display(), path.display()),
        None => "there is no older checkpoint; start again with --overwrite".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_checkpoints_tell_their_stage() {
        let stage = |step: u64, head_only_steps: u64| {
            let mut json = serde_json::to_value(Counters { step, ..Counters::default() }).unwrap();
            json.as_object_mut().unwrap().remove("stage");
            json["head_only_steps"] = head_only_steps.into();
            let counters = serde_json::from_value::<Counters>(json).unwrap().with_stage();
            (counters.stage, counters.stage_start)
        };
        assert_eq!(stage(7, 0), (0, 0), "one stage");
        assert_eq!(stage(7, 7), (0, 0), "the first of two");
        assert_eq!(stage(7, 5), (1, 5), "the second of two");
    }
}
