//! What both kinds of run do at their beginning and end.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::Context;
use crate::checkpoint::{self, Checkpoint, Fingerprints};
use crate::config;
use crate::device::{self, Precision};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::model::Params;
use crate::ops;
use crate::progress::Progress;
use crate::run_dir::{Existing, Manifest, RunDir, Status, is_done};
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

/// Opens the run directory; `None` when a resumed run is already done. Nothing in it changes yet.
///
/// Errors: as `RunDir::open`; a config that no longer fits the checkpoint, by key (2).
pub fn open(
    output_dir: &str,
    config: &(impl Serialize + DeserializeOwned),
    context: &Context,
) -> Result<Option<RunDir>> {
    signals::check()?;
    let dir = RunDir::open(Path::new(output_dir), context.existing)?;
    let (resumes, progress) = (context.existing == Existing::Resume, &context.progress);
    if resumes && dir.config().exists() {
        check_unchanged(&dir.config(), config, &HARMLESS, progress)?;
    }
    if resumes && is_done(dir.path()) && !has_more_to_do(&dir, config)? {
        progress.note(format!("{output_dir} is done already"));
        return Ok(None);
    }
    Ok(Some(dir))
}

/// A larger budget makes a finished run go on.
fn has_more_to_do(dir: &RunDir, config: &impl Serialize) -> Result<bool> {
    let old = files::read_text(&dir.config())?;
    let budget = |text: &str| {
        let table: Option<Table> = toml::from_str(text).ok();
        let train = table.and_then(|table| table.get("train").cloned());
        ["max_steps", "max_tokens", "max_epochs", "max_minutes"]
            .map(|key| train.as_ref().and_then(|train| train.get(key)).map(Value::to_string))
    };
    Ok(budget(&old) != budget(&config::to_toml(config)?))
}

/// Compares the stored config with the present one: keys outside `harmless` must agree, others are noted.
pub fn check_unchanged<C: Serialize + DeserializeOwned>(
    stored: &Path,
    config: &C,
    harmless: &[&str],
    progress: &Progress,
) -> Result<()> {
    let text = files::read_text(stored)?;
    let old: C = toml::from_str(&text).map_err(|cause: toml::de::Error| {
        Error::data(format!("{}: {}", stored.display(), cause.message()))
    })?;
    // Keys that the program did not know yet have their defaults in both.
    let old: Table = toml::from_str(&config::to_toml(&old)?).unwrap_or_default();
    let new: Table = toml::from_str(&config::to_toml(config)?).unwrap_or_default();
    for (key, old, new) in changes("", &old, &new) {
        let change = format!("{key}: {old} -> {new}");
        if !harmless.iter().any(|name| key == *name || (name.ends_with('.') && key.starts_with(name))) {
            let hint = "set it back, or start anew with --overwrite";
            return Err(Error::usage(format!("cannot resume with another config: {change}; {hint}")));
        }
        progress.note(format!("resuming with {change}"));
    }
    Ok(())
}

fn changes(prefix: &str, old: &Table, new: &Table) -> Vec<(String, String, String)> {
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    let mut found = Vec::new();
    for key in keys {
        let name = format!("{prefix}{key}");
        match (old.get(key), new.get(key)) {
            (Some(Value::Table(old)), Some(Value::Table(new))) => {
                found.extend(changes(&format!("{name}."), old, new));
            }
            (old, new) if old != new => {
                let show = |value: Option<&Value>| value.map_or("absent".into(), Value::to_string);
                found.push((name, show(old), show(new)));
            }
            _ => {}
        }
    }
    found
}

/// Takes the newest checkpoint, where there is one.
///
/// Errors: as `Checkpoint::load`; data, tokenizer or frozen weights other than the checkpoint's, with both hashes
/// (65).
pub fn resume(state: &mut State, dir: &RunDir, now: &Fingerprints, context: &Context) -> Result<()> {
    let newest = checkpoint::list(&dir.checkpoints()).pop();
    let Some(folder) = newest.filter(|_| context.existing == Existing::Resume) else {
        return Ok(());
    };
    let checkpoint = Checkpoint::load(&folder)?;
    let short = |hash: &str| hash.chars().take(12).collect::<String>();
    let then = &checkpoint.fingerprints;
    if then.tokenizer != now.tokenizer {
        let (then, now) = (short(&then.tokenizer), short(&now.tokenizer));
        let why = format!("the tokenizer is {now}, the checkpoint's was {then}");
        return Err(Error::data(format!(
            "cannot resume {}: {why}; start with --overwrite",
            folder.display()
        )));
    }
    if !then.frozen.is_empty() && then.frozen != now.frozen {
        let (then, now) = (short(&then.frozen), short(&now.frozen));
        let why = format!("the weights that are not trained are {now}, the checkpoint's were {then}");
        let hint = "put init_from back, or start with --overwrite";
        return Err(Error::data(format!("cannot resume {}: {why}; {hint}", folder.display())));
    }
    if then.data != now.data {
        let (then, now) = (short(&then.data), short(&now.data));
        let what = format!("the data is {now}, the checkpoint's was {then}");
        if !context.allow_data_change {
            let hint = "put it back, or go on with --allow-data-change";
            return Err(Error::data(format!("cannot resume {}: {what}; {hint}", folder.display())));
        }
        context.progress.warn(format!("{what}; going on as asked"));
    }
    state.restore(checkpoint)?;
    context.progress.note(format!("resuming at step {}", state.counters.step));
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
    manifest
}

/// A run under way. Its manifest says `running` until it is told how the run ended; dropped before that, on an error,
/// it says `failed`.
pub struct Running<'a> {
    dir: &'a RunDir,
    manifest: Manifest,
}

/// Writes config and manifest. Only here, when nothing can be refused any more, does an
/// old run give way.
pub fn begin<'a>(
    dir: &'a RunDir,
    config: &impl Serialize,
    manifest: Manifest,
    context: &Context,
) -> Result<Running<'a>> {
    if context.existing == Existing::Overwrite {
        dir.clear()?;
    }
    files::write_atomic(&dir.config(), config::to_toml(config)?.as_bytes())?;
    dir.write_manifest(&manifest)?;
    Ok(Running { dir, manifest })
}

impl Running<'_> {
    /// The results are complete.
    pub fn done(mut self) -> Result<()> {
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

    fn end(&mut self, status: Status) -> Result<()> {
        self.manifest.status = status;
        self.dir.write_manifest(&self.manifest)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.manifest.status == Status::Running {
            // Best effort: the error that ends the run matters more than a second one.
            let _ = self.end(if signals::pending().is_some() { Status::Interrupted } else { Status::Failed });
        }
    }
}
