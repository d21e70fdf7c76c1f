//! Checkpoints: everything a run needs to go on bit for bit, in a folder that is complete or absent.
//!
//! Layer 4. `checkpoints/step_000500/` holds model, optimizer, the best weights so far and `state.json` with
//! the SHA-256 of each file and of itself. It is written under another name, synced, then renamed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::model::Weights;
use crate::optim::LossWatch;
use crate::run_dir::{CHECKPOINT_FILES, replace_folder, step_of};
use crate::tensor_file;

/// Layout of the folder; a higher number is refused. From 2 on `state.json` has a sum of its own.
const FORMAT_VERSION: u32 = 2;

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
    /// `scratch`, or SHA-256 over the weights that training started from; empty where an older version did not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub start: String,
}

/// `state.json`.
#[derive(Serialize, Deserialize)]
struct State {
    format_version: u32,
    counters: Counters,
    fingerprints: Fingerprints,
    sha256: BTreeMap<String, String>,
    /// SHA-256 of this file, taken while this value is empty.
    #[serde(default)]
    state_sha256: String,
}

impl State {
    /// The file with its sum filled in.
    fn sealed(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self).map_err(Error::data)?;
        let sum = files::sha256(text.as_bytes());
        Ok(text.replace("\"state_sha256\": \"\"", &format!("\"state_sha256\": \"{sum}\"")))
    }

    /// Reads and verifies the file in `folder`.
    ///
    /// Errors: missing, damaged, a sum or step that does not fit, or another format (65).
    fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("state.json");
        let bytes = files::read(&path).map_err(|cause| incomplete(folder, &cause))?;
        let damaged =
            |why: String| Error::data(format!("{} is damaged: {why}; {}", path.display(), fallback(folder)));
        let state: Self = serde_json::from_slice(&bytes).map_err(|cause| damaged(cause.to_string()))?;
        if state.format_version > FORMAT_VERSION {
            let found = state.format_version;
            let why = format!("checkpoint format {found}, this program reads {FORMAT_VERSION}");
            return Err(Error::data(format!("{}: {why}; use the version that wrote it", path.display())));
        }
        let expected = &state.state_sha256;
        if !expected.is_empty() || state.format_version > 1 {
            let found = files::sha256(String::from_utf8_lossy(&bytes).replace(expected, "").as_bytes());
            if found != *expected {
                let (found, expected) = files::beginnings(&found, expected);
                return Err(damaged(format!("its checksum is {found}, expected {expected}")));
            }
        }
        let Counters { step, stage_start, best, .. } = &state.counters;
        if Some(*step) != step_of(folder)
            || stage_start > step
            || best.as_ref().is_some_and(|best| best.step > *step)
        {
            return Err(damaged("its counters do not belong to the step in the name of its folder".into()));
        }
        Ok(state)
    }
}

/// A checkpoint in memory.
pub struct Checkpoint {
    /// Where the run stands.
    pub counters: Counters,
    /// What it was trained on.
    pub fingerprints: Fingerprints,
    /// The trained parameters by name.
    pub model: Weights,
    /// Moments by parameter name.
    pub optimizer: Weights,
    /// The same at the best evaluation.
    pub best: Option<Weights>,
}

impl Checkpoint {
    /// Saves into `folder/step_NNNNNN` and removes all but the newest `keep` (0 keeps all). While the loss rises, the
    /// newest one from before stays too.
    ///
    /// Errors: another checkpoint of the same step is there (73); the disk refuses (73, 74). Whatever was there before
    /// still stands.
    pub fn save(&self, folder: &Path, keep: usize) -> Result<PathBuf> {
        let target = folder_of(folder, self.counters.step);
        if !is_checkpoint(&target) || self.completes(&target)? {
            replace_folder(&target, &CHECKPOINT_FILES, |folder| self.write_files(folder))?;
        }
        let watch = &self.counters.watch;
        remove_old(folder, keep, watch.sound_checkpoint().filter(|_| watch.rises()))?;
        Ok(target)
    }

    /// Whether the checkpoint of the same step at `target` waits for an evaluation that this one has. A resumed run that
    /// stops before its first step is otherwise where it was.
    ///
    /// Errors: it holds other weights than this one (73).
    fn completes(&self, target: &Path) -> Result<bool> {
        let sums = |weights: &Weights| tensor_file::sha256(weights).ok();
        let parts = |of: &Self| [sums(&of.model), sums(&of.optimizer)];
        match Self::load(target) {
            Ok(stored) if parts(&stored) == parts(self) => {
                Ok(stored.counters.evaluation_due && !self.counters.evaluation_due)
            }
            _ => {
                let why = format!("{} is there already and is not of this run", target.display());
                let hint = "move it away and go on with --resume";
                Err(Error::new(ErrorKind::Output, format!("{why}; {hint}")))
            }
        }
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
            state_sha256: String::new(),
        };
        files::write_synced(&folder.join("state.json"), state.sealed()?.as_bytes())?;
        files::sync_parent(&folder.join("state.json"))
    }

    /// Loads and verifies the checkpoint in `folder`.
    ///
    /// Errors: another format, a missing file, a checksum, step or header that does not fit (65), each naming the file
    /// and the older checkpoint to fall back to.
    pub fn load(folder: &Path) -> Result<Self> {
        let state = State::read(folder)?;
        let mut parts = BTreeMap::new();
        for (name, expected) in &state.sha256 {
            let path = folder.join(name);
            let bytes = files::read(&path).map_err(|cause| incomplete(folder, &cause))?;
            let found = files::sha256(&bytes);
            if found != *expected {
                let why = format!("checksum of {} ({} bytes) differs", path.display(), bytes.len());
                let (found, expected) = files::beginnings(&found, expected);
                let hashes = format!("found {found}, expected {expected}");
                return Err(Error::data(format!("{why}: {hashes}; {}", fallback(folder))));
            }
            parts.insert(name.clone(), tensor_file::parse(&path, &bytes, |_| true)?);
        }
        let mut part = |name: &str| {
            let tensors = parts.remove(&format!("{name}.safetensors"));
            tensors.ok_or_else(|| Error::data(format!("{} lists no {name}.safetensors", folder.display())))
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
///
/// Errors: the folder cannot be read (66, 74).
pub fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = files::entries(folder)?;
    found.retain(|path| is_checkpoint(path));
    found.sort_by_key(|path| step_of(path));
    Ok(found)
}

/// Whether the folder at `path` is named as a checkpoint and has a file of one.
fn is_checkpoint(path: &Path) -> bool {
    step_of(path).is_some() && CHECKPOINT_FILES.iter().any(|name| path.join(name).exists())
}

fn remove_old(folder: &Path, keep: usize, but: Option<u64>) -> Result<()> {
    let found = list(folder)?;
    let surplus = if keep == 0 { 0 } else { found.len().saturating_sub(keep) };
    found[..surplus]
        .iter()
        .filter(|path| but.is_none() || but != step_of(path))
        .try_for_each(|path| remove(path))
}

/// Removes a checkpoint; its folder stays where somebody put a file of their own.
pub fn remove(path: &Path) -> Result<()> {
    // The state first: what is left of a removal that is cut short is no checkpoint.
    for file in CHECKPOINT_FILES.map(|name| path.join(name)).iter().filter(|file| file.exists()) {
        fs::remove_file(file).map_err(|cause| Error::writing(file, &cause))?;
    }
    let _ = fs::remove_dir(path);
    Ok(())
}

/// A file that belongs to the checkpoint in `folder` cannot be read.
fn incomplete(folder: &Path, cause: &Error) -> Error {
    Error::data(format!("checkpoint {} is incomplete: {cause}; {}", folder.display(), fallback(folder)))
}

/// What to do when the checkpoint in `folder` cannot be used.
fn fallback(folder: &Path) -> String {
    let older = folder.parent().and_then(|folder| list(folder).ok()).unwrap_or_default();
    match older.iter().rev().find(|path| step_of(path) < step_of(folder)) {
        Some(path) => format!("remove {} to go on from {}", folder.display(), path.display()),
        None => "there is no older checkpoint; start again with --overwrite".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_step(step: u64, value: f32) -> Checkpoint {
        let tensor = candle_core::Tensor::new(&[value], &candle_core::Device::Cpu).unwrap();
        let weights = || Weights::from([("a".to_string(), tensor.clone())]);
        let counters = Counters { step, elapsed_secs: 0.1 + f64::from(value), ..Counters::default() };
        let fingerprints = Fingerprints {
            data: "d".into(),
            tokenizer: "t".into(),
            frozen: String::new(),
            start: String::new(),
        };
        Checkpoint { counters, fingerprints, model: weights(), optimizer: weights(), best: None }
    }

    #[test]
    fn any_change_of_the_state_is_noticed_and_older_states_are_still_read() {
        let folder = tempfile::tempdir().unwrap();
        let saved = at_step(4, 1.0).save(folder.path(), 0).unwrap();
        let (file, loads) = (saved.join("state.json"), || Checkpoint::load(&saved));
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(loads().unwrap().counters, at_step(4, 1.0).counters);
        for (from, to) in [
            ("\"tokens\": 0", "\"tokens\": 9"),
            ("\"head_only_steps\": 0", "\"head_only_steps\": 4"),
            ("\"step\": 4", "\"step\": 5"),
            ("\"format_version\": 2", "\"format_version\": 1"),
            ("1.1", "1.2"),
        ] {
            assert!(text.contains(from), "{from} is not in {text}");
            fs::write(&file, text.replacen(from, to, 1)).unwrap();
            assert!(loads().is_err_and(|error| error.to_string().contains("is damaged")), "{to}");
        }
        let mut older: serde_json::Value = serde_json::from_str(&text).unwrap();
        older.as_object_mut().unwrap().remove("state_sha256");
        fs::write(&file, older.to_string()).unwrap();
        assert!(loads().is_err(), "the sum cannot be left out");
        older["format_version"] = 1.into();
        fs::write(&file, older.to_string()).unwrap();
        assert_eq!(loads().unwrap().counters.step, 4);
        older["counters"]["head_only_steps"] = u32::MAX.into();
        fs::write(&file, older.to_string()).unwrap();
        assert!(loads().is_err_and(|error| error.to_string().contains("do not belong to the step")));
        older["format_version"] = 3.into();
        fs::write(&file, older.to_string()).unwrap();
        assert!(loads().is_err_and(|error| error.to_string().contains("checkpoint format 3")));
    }

    #[test]
    fn another_checkpoint_of_the_same_step_is_neither_kept_nor_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let saved = at_step(4, 1.0).save(folder.path(), 0).unwrap();
        at_step(4, 1.0).save(folder.path(), 0).unwrap();
        let error = at_step(4, 2.0).save(folder.path(), 0).unwrap_err();
        assert!(error.kind == ErrorKind::Output && error.to_string().contains("not of this run"), "{error}");
        assert_eq!(Checkpoint::load(&saved).unwrap().counters, at_step(4, 1.0).counters);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        fs::rename(&saved, folder.path().join("step_000005")).unwrap();
        let error = Checkpoint::load(&folder.path().join("step_000005")).err().unwrap();
        assert!(error.to_string().contains("do not belong to the step"), "{error}");
    }

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
