//! Fine-tuning: labelled rows -> tokens -> batches -> steps -> threshold -> scores, verdict and model.

mod material;
mod measure;
mod recipe;
mod store;

use std::path::Path;

pub(super) use self::material::warn_of_labels;
use self::material::{Asked, Material, check_first_token, describe_data, state, tokenizer};
use self::measure::{Measured, measure};
use self::store::store;
use super::Context;
use super::audit::{self, Known};
use super::changes;
use super::classifier::Classifier;
use super::fetch::Fetcher;
use super::lifecycle;
use super::start::Start;
use crate::checkpoint::Fingerprints;
use crate::config::{AuditMode, Config, FinetuneConfig};
use crate::data::LabelledSplit;
use crate::error::Result;
use crate::files;
use crate::hf_folder::{Decision, Sources, save_decision, write_classifier_card};
use crate::progress::Progress;
use crate::report;
use crate::results::{AuditResults, Finetuned, Pretrained, RunFacts};
use crate::run_dir::{Existing, Manifest, RunDir, Status, check_model, read_json};
use crate::trainer::{ClassificationData, ClassificationSettings, ClassificationTask, Outcome, Run, State};

/// Said where a budget ended before the body was trained.
const HEAD_ALONE: &str = "the budget was too short for classifier.head_only_fraction: the head alone was trained; lower \
                          the fraction or raise the budget";

impl From<&Pretrained> for FinetuneConfig {
    /// Defaults, from this model.
    fn from(start: &Pretrained) -> Self {
        Self { init_from: start.dir.display().to_string(), ..Self::default() }
    }
}

impl FinetuneConfig {
    /// The same on these labelled rows: a TSV, CSV, JSON Lines or Parquet file.
    #[must_use]
    pub fn on(mut self, rows: impl Into<String>) -> Self {
        self.data.train = rows.into();
        self
    }
}

impl Finetuned {
    /// The run of this config in a comparison: as it is where it is done and was made from the same by this program,
    /// else finished, or made anew where it was made from something else.
    ///
    /// Errors: as [`finetune`] and [`Finetuned::load`]; a model that is not as the run wrote it (65).
    pub(super) fn of(config: &FinetuneConfig, context: &Context) -> Result<Self> {
        let dir = Path::new(&config.output_dir);
        if !files::exists(&dir.join("run.json"))? {
            return finetune(config, context);
        }
        let manifest: Manifest = read_json(dir, "run.json")?;
        let (is_done, is_of) = (manifest.status == Status::Done, changes::is_of(dir, &manifest, config)?);
        if is_of && !is_done {
            return finetune(config, context);
        }
        if is_of && lifecycle::fingerprints_of(&manifest) == origin(config)? {
            check_model(dir, &manifest)?;
            return Self::load(dir);
        }
        let what = format!("{} was made from something else than what is asked now", dir.display());
        context.progress.warn(format!("{what}; it is made anew"));
        finetune(config, &Context { existing: Existing::Overwrite, ..context.clone() })
    }

    /// The classifier, ready to be asked, on a GPU that is there or else on the CPU.
    ///
    /// Errors: as [`Classifier::load`].
    pub fn classifier(&self) -> Result<Classifier> {
        Classifier::load(&self.dir)
    }
}

/// Fine-tunes as the config says; afterwards the run directory holds results, predictions and model.
///
/// Errors: bad input, a tokenizer or model that does not fit, a directory in use, a signal, divergence.
pub fn finetune(config: &FinetuneConfig, context: &Context) -> Result<Finetuned> {
    config.check()?;
    let Some(opened) = lifecycle::open("finetune", &config.output_dir, config, context)? else {
        return Finetuned::load(config.output_dir.as_ref());
    };
    let dir = &opened.dir;
    let progress = &context.progress;
    let device = context.open_device(&config.device)?;
    let mut fetcher = Fetcher::new(progress);
    let local = fetcher.finetune(config)?;
    let start = Start::open(&local.init_from)?;

    let mut split = LabelledSplit::load(&local.data)?;
    config.check_decision(&split)?;
    let audit = audited(config, &mut split, &mut fetcher, progress)?;
    describe_data(&split, progress);
    // A comparison warns for all its runs.
    if !progress.is_inner() {
        warn_of_labels(&split, progress);
    }
    let tokenizer = tokenizer(&local, &start, &split)?.ending_texts()?;
    let found = start.model_config(config.model.as_ref(), tokenizer.vocab_size())?;
    config.train.check_open(found.max_position_embeddings())?;
    config.classifier.check_for(&found)?;
    let asked = Asked { config, split: &split, tokenizer: &tokenizer, model: &found };
    check_first_token(&asked)?;
    let (completed, parts) = asked.completed(matches!(start, Start::Scratch))?;
    recipe::tell(config, &completed, &parts.train, progress);
    let model = config.classifier.body(found);
    let material = Material { config: &completed, split, tokenizer, parts, model };

    let start_sha256 = start.sha256()?;
    let mut state = state(&material, start, &device, progress)?;
    let fingerprints = Fingerprints {
        data: material.split.sha256.clone(),
        tokenizer: material.tokenizer.sha256().into(),
        frozen: state.frozen_sha256()?,
        start: start_sha256,
    };
    if !lifecycle::resume(&mut state, &opened, &fingerprints, context)? {
        return Finetuned::load(config.output_dir.as_ref());
    }

    let mut manifest =
        lifecycle::manifest("finetune", config.seed, &device, &config.init_from, &fingerprints);
    manifest.parameters = Some(state.params.count());
    manifest.trainable_parameters = Some(state.trainable_count());
    let commit = fetcher.commits.get(&config.init_from).cloned();
    manifest.hub_commits = fetcher.commits;
    let running = lifecycle::begin(dir, config, manifest, context)?;
    if let Outcome::Interrupted(signal) = train(&material, &mut state, dir, &fingerprints, progress)? {
        return Err(running.interrupted(signal));
    }
    let classifier = store(&material, &state, commit.as_deref(), dir)?;
    let measured = measure(&material, &state, &classifier, audit, dir, progress)?;
    publish(&material, &measured, dir)?;
    running.done()?;
    Ok(Finetuned { facts: RunFacts::read(dir.path()), ..measured.run })
}

/// What a run of this config is made from; everything it names is on this machine.
///
/// Errors: as reading rows, model and tokenizer.
fn origin(config: &FinetuneConfig) -> Result<Fingerprints> {
    let start = Start::open(&config.init_from)?;
    let split = LabelledSplit::load(&config.data)?;
    let tokenizer = tokenizer(config, &start, &split)?.ending_texts()?;
    Ok(Fingerprints {
        data: split.sha256,
        tokenizer: tokenizer.sha256().into(),
        frozen: String::new(),
        start: start.sha256()?,
    })
}

/// Trains until the budget is used or a signal comes; then the weights to be kept are in their places.
fn train(
    of: &Material<'_>,
    state: &mut State,
    dir: &RunDir,
    fingerprints: &Fingerprints,
    progress: &Progress,
) -> Result<Outcome> {
    let Material { config, split, parts, model, .. } = of;
    let data = ClassificationData {
        train: &parts.train,
        validation: &parts.validation,
        label_names: &split.label_names,
        positive: split.positive,
        threshold: split.threshold(),
    };
    let settings = ClassificationSettings {
        model,
        lora: config.lora.as_ref(),
        classifier: &config.classifier,
        train: &config.train,
        seed: config.seed,
    };
    let mut task = ClassificationTask::new(settings, data, state)?;
    let run = Run {
        phase: "finetune",
        train: &config.train,
        optim: &config.optim,
        seed: config.seed,
        dir,
        fingerprints,
        progress,
    };
    let outcome = run.train(&mut task, state)?;
    if outcome == Outcome::Finished {
        if config.classifier.head_only_fraction > 0.0 && state.optimizer.updates() == 0 {
            progress.warn(HEAD_ALONE);
        }
        if config.train.restore_best {
            state.restore_best()?;
        }
    }
    Ok(outcome)
}

/// Writes the report, and beside the model how it answers; that goes without n-grams, which other programs do not have.
fn publish(of: &Material<'_>, Measured { run, alone }: &Measured, dir: &RunDir) -> Result<()> {
    let config = of.config;
    let scores = &alone.scores;
    let decision = Decision {
        positive: scores.test.threshold.map(|_| of.split.positive),
        threshold: Some(scores.test.threshold.into()),
        temperature: scores.calibration.as_ref().map(|found| found.temperature),
        windows: Some(config.classifier.windows).filter(|windows| *windows > 1),
    };
    save_decision(&dir.model(), &decision)?;
    let data = [config.data.train.clone(), config.data.validation.clone(), config.data.test.clone()];
    let sources = Sources { init_from: &config.init_from, data: &data };
    let by_transformers = of.model.is_of_transformers(of.pooling());
    write_classifier_card(&dir.model(), dir.name(), alone, by_transformers, &sources)?;
    report::publish(dir.path(), &run.results, &report::finetuned(run))
}

/// Looks for rows that leak, before any training; with `drop` they leave validation and test.
///
/// Errors: rows that leak, with `deny` (3); none left, with `drop` (65).
fn audited(
    config: &FinetuneConfig,
    split: &mut LabelledSplit,
    fetcher: &mut Fetcher<'_>,
    progress: &Progress,
) -> Result<Option<AuditResults>> {
    if config.audit == AuditMode::Off {
        return Ok(None);
    }
    let known = Known::of(&config.init_from, fetcher)?;
    let found = audit::of_split(split, known, config.audit, config.audit_threshold, progress)?;
    audit::act(&found, config.audit, progress)?;
    if config.audit == AuditMode::Drop {
        split.leave_out(&audit::leaking_texts(&found, split))?;
    }
    Ok(Some(found))
}
