//! What both kinds of run do at their beginning and end.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Context;
use super::changes::{self, Change, harmless_changes};
use crate::checkpoint::{self, Checkpoint, Fingerprints};
use crate::config;
use crate::device::{self, Precision};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::model::Params;
use crate::ops;
use crate::run_dir::{Existing, Manifest, RunDir, Status, check_model, lacks_model, model_sums};
use crate::signals;
use crate::trainer::State;

/// Keys that may change between a checkpoint and its resumption.
const HARMLESS: [&str; 21] = [
    "device",
    "audit",
    "prompts",
    "sampling.",
    "bleu_prompts",
    "optim.",
    "train.max_steps",
    "train.max_tokens",
    "train.max_epochs",
    "train.max_minutes",
    "train.log_interval",
    "train.eval_interval",
    "train.save_interval",
    "train.save_minutes",
    "train.spike_loss_z",
    "train.spike_grad_norm_z",
    "train.on_spike",
    "train.recompute",
    "train.keep_checkpoints",
    "train.early_stopping_patience",
    "train.restore_best",
];

/// Limits: a higher one makes a finished run go on.
const LIMITS: [&str; 5] = [
    "train.max_steps",
    "train.max_tokens",
    "train.max_epochs",
    "train.max_minutes",
    "train.early_stopping_patience",
];

/// A run directory that a run may be written into.
pub struct Opened {
    /// The directory.
    pub dir: RunDir,
    /// Of the run that is there, where it is done if its inputs, now elsewhere, are the same.
    finished: Option<Manifest>,
    /// Another `init_from` than before.
    other_start: Option<String>,
}

/// Opens the run directory; `None` when a resumed run is already done. Nothing in it changes yet.
///
/// Errors: as `RunDir::open`; a config that no longer fits the checkpoint, by key, or a run of another kind (2); a run to
/// be replaced that holds inputs of the new one (73); a finished run whose model is damaged, or without a checkpoint to go
/// on from (65).
pub fn open(
    phase: &str,
    output_dir: &str,
    config: &(impl Serialize + DeserializeOwned),
    context: &Context,
) -> Result<Option<Opened>> {
    signals::check()?;
    changes::lies_apart(Path::new(output_dir), config)?;
    let dir = RunDir::open(Path::new(output_dir), context.existing)?;
    if context.existing == Existing::Overwrite {
        changes::keeps_inputs(dir.path(), config)?;
    }
    let manifest = stored(&dir, context)?;
    check_phase(&dir, phase, manifest.as_ref())?;
    let changes = match context.existing == Existing::Resume && files::exists(&dir.config())? {
        true => harmless_changes(&dir.config(), config, &HARMLESS)?,
        false => Vec::new(),
    };
    let other_start = changes.iter().find(|change| change.key == "init_from").map(Change::to_string);
    let Some(manifest) = manifest.filter(|manifest| manifest.status == Status::Done) else {
        changes.iter().for_each(|change| context.progress.note(format!("resuming with {change}")));
        return Ok(Some(Opened { dir, finished: None, other_start }));
    };
    let has_checkpoints = !checkpoint::list(&dir.checkpoints())?.is_empty();
    let lacks_model = has_checkpoints && lacks_model(dir.path(), &manifest);
    if lacks_model || changes.iter().any(|change| LIMITS.contains(&&*change.key)) {
        if !has_checkpoints {
            let why = format!("{output_dir} is done and has no checkpoint to go on from");
            return Err(Error::data(format!("{why}; start anew with another output_dir or --overwrite")));
        }
        if lacks_model {
            context
                .progress
                .warn(format!("{output_dir} lacks its model, which the last checkpoint gives again"));
        }
        changes.iter().for_each(|change| context.progress.note(format!("resuming with {change}")));
        return Ok(Some(Opened { dir, finished: None, other_start }));
    }
    check_model(dir.path(), &manifest)?;
    if changes.iter().any(|change| change.names_content()) {
        return Ok(Some(Opened { dir, finished: Some(manifest), other_start }));
    }
    let unused: Vec<String> =
        changes.iter().filter(|change| !change.names_place()).map(Change::to_string).collect();
    let without = match unused.is_empty() {
        true => String::new(),
        false => format!("; without a higher limit {} changes nothing", unused.join(", ")),
    };
    context.progress.note(format!("{output_dir} is done already{without}"));
    Ok(None)
}

/// The manifest of the run to be resumed; none where nothing is resumed or no run is there.
///
/// Errors: it is damaged (65).
pub fn stored(dir: &RunDir, context: &Context) -> Result<Option<Manifest>> {
    if context.existing == Existing::Resume { dir.manifest() } else { Ok(None) }
}

/// Errors: the run that is there is of another kind (2).
pub fn check_phase(dir: &RunDir, phase: &str, manifest: Option<&Manifest>) -> Result<()> {
    match manifest.filter(|manifest| manifest.phase != phase) {
        None => Ok(()),
        Some(Manifest { phase: other, .. }) => {
            let why = format!("output_dir {} holds a run of {other}, not of {phase}", dir.path().display());
            Err(Error::usage(format!("{why}; choose another output_dir")))
        }
    }
}

/// Takes the newest checkpoint, where there is one; `false` where the run turns out to be done.
///
/// Errors: as `Checkpoint::load`; data, tokenizer or frozen weights other than those of the run, with both hashes (65).
pub fn resume(state: &mut State, opened: &Opened, now: &Fingerprints, context: &Context) -> Result<bool> {
    let Opened { dir, finished, other_start } = opened;
    let check_same = |path: &Path, kind: &str, then: &Fingerprints| {
        if let Some(change) = other_start.as_ref().filter(|_| then.start.is_empty()) {
            let why = format!("{change}, and this older {kind} does not say what weights it began with");
            return Err(Error::usage(format!("cannot resume with another config: {why}; set it back")));
        }
        check_same(path, kind, then, now, context)
    };
    if let Some(manifest) = finished {
        check_same(dir.path(), "run", &fingerprints_of(manifest))?;
        context.progress.note(format!("{} is done already", dir.path().display()));
        return Ok(false);
    }
    let newest = checkpoint::list(&dir.checkpoints())?.pop();
    let Some(folder) = newest.filter(|_| context.existing == Existing::Resume) else {
        return Ok(true);
    };
    let checkpoint = Checkpoint::load(&folder)?;
    check_same(&folder, "checkpoint", &checkpoint.fingerprints)?;
    state.restore(checkpoint)?;
    context.progress.note(format!("resuming at step {}", state.counters.step));
    Ok(true)
}

/// What a finished run was made from, as its manifest has it.
pub fn fingerprints_of(manifest: &Manifest) -> Fingerprints {
    Fingerprints {
        data: manifest.data_sha256.clone(),
        tokenizer: manifest.tokenizer_sha256.clone(),
        frozen: String::new(),
        start: manifest.start_sha256.clone(),
    }
}

/// Errors: something that the `kind` at `path` was made from is another now (65).
pub fn check_same(
    path: &Path,
    kind: &str,
    then: &Fingerprints,
    now: &Fingerprints,
    context: &Context,
) -> Result<()> {
    let refused = |why: String, hint: &str| {
        Err(Error::data(format!("cannot resume {}: {why}; {hint}", path.display())))
    };
    // What is not known says nothing.
    let differ = |then: &str, now: &str| !then.is_empty() && !now.is_empty() && then != now;
    let (old, new) = files::beginnings(&then.tokenizer, &now.tokenizer);
    if differ(&then.tokenizer, &now.tokenizer) {
        let why = format!("the tokenizer is {new}, the {kind}'s was {old}");
        return refused(why, "put it back, or start with --overwrite");
    }
    let (old, new) = files::beginnings(&then.frozen, &now.frozen);
    if differ(&then.frozen, &now.frozen) {
        let why = format!("the weights that are not trained are {new}, the {kind}'s were {old}");
        return refused(why, "put init_from back, or start with --overwrite");
    }
    let (old, new) = files::beginnings(&then.start, &now.start);
    if differ(&then.start, &now.start) {
        let why = format!("the weights of init_from are {new}, the {kind}'s were {old}");
        return refused(why, "put init_from back, or start with --overwrite");
    }
    let (old, new) = files::beginnings(&then.data, &now.data);
    if differ(&then.data, &now.data) {
        let what = format!("the data is {new}, the {kind}'s was {old}");
        if !context.allow_data_change {
            return refused(what, "put it back, or go on with --allow-data-change");
        }
        context.progress.warn(format!("{what}; going on as asked"));
    }
    Ok(())
}

/// The parameters, with copies of the type that training computes in.
///
/// Errors: a precision that the device does not have (2).
pub fn computing(params: Params, precision: Precision) -> Result<Params> {
    ops::allow_tf32(precision == Precision::Tf32);
    let dtype = precision.dtype(&params.device())?;
    Ok(params.computing_in(dtype)?)
}

/// The manifest of a run that starts now.
pub fn manifest(
    phase: &str,
    seed: u64,
    device: &candle_core::Device,
    init_from: &str,
    of: &Fingerprints,
) -> Manifest {
    let name = format!("{:?}", device.location()).to_lowercase();
    let mut manifest = Manifest::new(phase, seed, &name, device::threads(), init_from);
    manifest.data_sha256 = of.data.clone();
    manifest.tokenizer_sha256 = of.tokenizer.clone();
    manifest.start_sha256 = of.start.clone();
    manifest
}

/// A run under way. Its manifest says `running` until it is told how the run ended; dropped before that, on an error,
/// it says `failed`.
pub struct Running<'a> {
    dir: &'a RunDir,
    manifest: Manifest,
    /// What it says after an error.
    otherwise: Status,
}

/// Writes config and manifest. Only here, when nothing can be refused any more, does an
/// old run give way.
pub fn begin<'a>(
    dir: &'a RunDir,
    config: &impl Serialize,
    manifest: Manifest,
    context: &Context,
) -> Result<Running<'a>> {
    dir.begin(context.existing == Existing::Overwrite, &manifest, &config::to_toml(config)?)?;
    Ok(Running { dir, manifest, otherwise: Status::Failed })
}

impl Running<'_> {
    /// The results are complete.
    pub fn done(mut self) -> Result<()> {
        self.manifest.model_sha256 = model_sums(self.dir.path())?;
        self.end(Status::Done)
    }

    /// The error of a run that this signal stopped after a checkpoint was saved.
    pub fn interrupted(mut self, signal: i32) -> Error {
        if let Err(cause) = self.end(Status::Interrupted) {
            return cause;
        }
        let what =
            format!("stopped by signal {signal}; a checkpoint is saved in {}", self.dir.path().display());
        Error::new(ErrorKind::Interrupted(signal), format!("{what}; go on with --resume"))
    }

    /// A run inside this one failed, or a signal stopped it; going on continues there.
    pub fn stopped_by(&mut self, error: &Error) {
        if matches!(error.kind, ErrorKind::Interrupted(_)) {
            // Best effort, as on dropping.
            let _ = self.end(Status::Interrupted);
        }
    }

    /// The run was done with the same config and stays so: an error takes nothing of it away.
    pub fn was_done(&mut self) {
        self.otherwise = Status::Done;
    }

    /// Remembers how long it has taken so far, in case it is killed.
    pub fn spent(&mut self, wall_secs: f64) -> Result<()> {
        self.manifest.wall_secs = Some(wall_secs);
        self.dir.write_manifest(&self.manifest)
    }

    fn end(&mut self, status: Status) -> Result<()> {
        self.manifest.status = status;
        self.dir.write_manifest(&self.manifest)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.manifest.status == Status::Running {
            // Best effort: the error that ends the run matters more than a second one.
            let _ = self.end(if signals::pending().is_some() { Status::Interrupted } else { self.otherwise });
        }
    }
}
