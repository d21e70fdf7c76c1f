//! Fine-tuning: labelled rows -> tokens -> batches -> steps -> threshold -> scores, verdict and model.

use std::path::Path;

use candle_core::Device;

use super::Context;
use super::audit::{self, Known};
use super::classifier::Classifier;
use super::fetch::Fetcher;
use super::lifecycle;
use super::start::Start;
use crate::analysis::{self, FinetuneRun, LabelledTexts};
use crate::checkpoint::Fingerprints;
use crate::config::{AuditMode, Config, FinetuneConfig, SCRATCH};
use crate::data::{Example, Examples, LabelledSplit};
use crate::error::{Error, Result};
use crate::files;
use crate::hf_folder::{self, Base, ModelFiles, Sources, save_adapter, write_classifier_card};
use crate::hub;
use crate::metrics::History;
use crate::model::{self, Head, ModelConfig, Pooling, parameter_specs};
use crate::process;
use crate::progress::Progress;
use crate::report;
use crate::results::{
    AuditResults, Finetuned, Log, Mistake, PartSummary, Predictions, Pretrained, RunFacts, TrainingFacts,
};
use crate::run_dir::{RunDir, is_done};
use crate::tokenizer::Tokenizer;
use crate::trainer::{
    ClassificationData, ClassificationSettings, ClassificationTask, Outcome, Run, State, probabilities,
    stages,
};

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
    /// The run of this config: as it is where it is done, else made or, by a context that resumes, finished.
    ///
    /// Errors: as [`finetune`] and [`Finetuned::load`].
    pub(super) fn of(config: &FinetuneConfig, context: &Context) -> Result<Self> {
        let dir = Path::new(&config.output_dir);
        if is_done(dir) { Self::load(dir) } else { finetune(config, context) }
    }

    /// The classifier, ready to be asked, on a GPU that is there or else on the CPU.
    ///
    /// Errors: as [`Classifier::load`].
    pub fn classifier(&self) -> Result<Classifier> {
        Classifier::load(&self.dir)
    }
}

/// Rows of the three parts as tokens.
struct Parts {
    train: Examples,
    validation: Examples,
    test: Examples,
}

impl Parts {
    fn encode(split: &LabelledSplit, tokenizer: &Tokenizer, seq_len: usize) -> Result<Self> {
        let encode = |rows: &[Example]| Examples::encode(tokenizer, rows, seq_len);
        Ok(Self {
            train: encode(&split.train)?,
            validation: encode(&split.validation)?,
            test: encode(&split.test)?,
        })
    }
}

/// What a fine-tuning works on.
struct Material<'a> {
    config: &'a FinetuneConfig,
    split: LabelledSplit,
    tokenizer: Tokenizer,
    parts: Parts,
    model: ModelConfig,
}

/// Fine-tunes as the config says; afterwards the run directory holds results, predictions and model.
///
/// Errors: bad input, a tokenizer or model that does not fit, a directory in use, a signal, divergence.
pub fn finetune(config: &FinetuneConfig, context: &Context) -> Result<Finetuned> {
    config.check()?;
    let Some(dir) = lifecycle::open(&config.output_dir, config, context)? else {
        return Finetuned::load(config.output_dir.as_ref());
    };
    let progress = &context.progress;
    let device = context.open_device(&config.device)?;
    let mut fetcher = Fetcher::new(progress);
    let local = fetcher.finetune(config)?;
    let start = Start::open(&local.init_from)?;

    let mut split = LabelledSplit::load(&local.data)?;
    let audit = audited(config, &mut split, &mut fetcher, progress)?;
    describe_data(&split, progress);
    let tokenizer = tokenizer(&local, &start, &split)?.ending_texts()?;
    let model = start.model_config(config.model.as_ref(), tokenizer.vocab_size())?;
    config.train.check(model.max_position_embeddings())?;
    let parts = Parts::encode(&split, &tokenizer, config.train.seq_len)?;
    let material = Material { config, split, tokenizer, parts, model };

    let mut state = state(&material, start, &device, progress)?;
    let fingerprints = Fingerprints {
        data: material.split.sha256.clone(),
        tokenizer: material.tokenizer.sha256().into(),
        frozen: state.frozen_sha256()?,
    };
    lifecycle::resume(&mut state, &dir, &fingerprints, context)?;

    let mut manifest =
        lifecycle::manifest("finetune", config.seed, &device, &config.init_from, &fingerprints);
    manifest.parameters = Some(state.params.count());
    manifest.trainable_parameters = Some(state.trainable_count());
    let commit = fetcher.commits.get(&config.init_from).cloned();
    manifest.hub_commits = fetcher.commits;
    let running = lifecycle::begin(&dir, config, manifest, context)?;
    if let Outcome::Interrupted(signal) = train(&material, &mut state, &dir, &fingerprints, progress)? {
        return Err(running.interrupted(signal));
    }
    let classifier = store(&material, &state, commit.as_deref(), &dir)?;
    let run = measure(&material, &state, &classifier, audit, &dir, progress)?;
    publish(config, &run, &dir)?;
    running.done()?;
    Ok(Finetuned { facts: RunFacts::read(dir.path()), ..run })
}

/// Everything that training changes, before its first step.
fn state(of: &Material<'_>, start: Start, device: &Device, progress: &Progress) -> Result<State> {
    let Material { config, split, model, .. } = of;
    let num_labels = split.label_names.len();
    let head = Head::Classifier { num_labels, pooling: config.classifier.pooling };
    let mut specs = parameter_specs(model, head);
    if let Some(lora) = &config.lora {
        specs.extend(lora.specs(model)?);
        if matches!(start, Start::Scratch) {
            progress.warn(LORA_FROM_SCRATCH);
        }
    }
    let params = lifecycle::computing(start.params(&specs, config.seed, device)?, config.train.precision)?;
    let stages = stages(&specs, &config.classifier, config.lora.as_ref(), &config.optim);
    let state = State::new(params, stages, &config.optim);
    let (all, trained) = (state.params.count(), state.trainable_count());
    let share = 100.0 * trained as f64 / all as f64;
    progress.note(format!("model: {all} parameters, {trained} of them trained ({share:.3} %)"));
    Ok(state)
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

fn publish(config: &FinetuneConfig, run: &Finetuned, dir: &RunDir) -> Result<()> {
    let data = [config.data.train.clone(), config.data.validation.clone(), config.data.test.clone()];
    let sources = Sources { init_from: &config.init_from, data: &data };
    write_classifier_card(&dir.model(), dir.name(), &run.results, config.classifier.pooling, &sources)?;
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

fn describe_data(split: &LabelledSplit, progress: &Progress) {
    let (train, validation, test) = (split.train.len(), split.validation.len(), split.test.len());
    progress.note(format!("data: {train} rows to train on, {validation} to validate on, {test} to test on"));
    let count = |label: usize| split.train.iter().filter(|row| row.label as usize == label).count();
    let shares = split.label_names.iter().enumerate().map(|(label, name)| format!("{name} {}", count(label)));
    let positive = &split.label_names[split.positive];
    progress.note(format!("labels: {}; positive: {positive}", shares.collect::<Vec<_>>().join(", ")));
    if split.duplicates_dropped + split.leaked_dropped + split.contradictions > 0 {
        progress.note(format!(
            "dropped {} duplicates, {} training rows that are in validation or test, {} contradictory labels",
            split.duplicates_dropped, split.leaked_dropped, split.contradictions
        ));
    }
    if let [validation, test] = split.left_out
        && validation + test > 0
    {
        progress.note(format!("left out: {validation} validation rows and {test} test rows"));
    }
}

/// The pre-trained model's tokenizer; from scratch the one named, or one trained on the training texts.
fn tokenizer(config: &FinetuneConfig, start: &Start, split: &LabelledSplit) -> Result<Tokenizer> {
    let path = &config.tokenizer.path;
    let named = (!path.is_empty()).then(|| Tokenizer::load(path.as_ref())).transpose()?;
    match (start, named) {
        (Start::Scratch, Some(named)) => Ok(named),
        (Start::Scratch, None) => {
            let texts = split.train.iter().map(|row| row.text.clone()).collect::<Vec<_>>();
            Tokenizer::train(texts.into_iter(), &config.tokenizer)
        }
        (Start::Pretrained(folder), Some(named)) if named.sha256() != folder.tokenizer.sha256() => {
            let (ours, theirs) = (&named.sha256()[..12], &folder.tokenizer.sha256()[..12]);
            let why = format!("tokenizer {path} is {ours}, the pre-trained model's is {theirs}");
            Err(Error::data(format!("{why}; leave tokenizer.path empty to take the model's own")))
        }
        (Start::Pretrained(_), Some(named)) => Ok(named),
        (Start::Pretrained(_), None) => Tokenizer::load(config.init_from.as_ref()),
    }
}

/// Said where a budget ended before the body was trained.
const HEAD_ALONE: &str = "the budget was too short for classifier.head_only_fraction: the head alone was trained; lower \
                          the fraction or raise the budget";

/// Said where low-rank updates begin from random weights.
const LORA_FROM_SCRATCH: &str = "[lora] from scratch: the random weights stay as they are, only their low-rank updates \
                                 and the head are trained; leave [lora] out to train everything, and no adapter is \
                                 stored, since nobody else has these weights";

/// Writes what was trained: `model/`, into which low-rank updates are merged, and those as `adapter/`. Returns the
/// classifier as stored.
fn store(of: &Material<'_>, state: &State, commit: Option<&str>, dir: &RunDir) -> Result<model::Classifier> {
    let config = of.config;
    let trained = ModelFiles {
        config: &of.model,
        label_names: &of.split.label_names,
        pooling: config.classifier.pooling,
        max_tokens: config.train.seq_len,
        weights: &state.params.detached(),
        tokenizer: &of.tokenizer,
    };
    let weights = match &config.lora {
        Some(lora) => lora.merged(trained.config, trained.weights)?,
        None => trained.weights.clone(),
    };
    hf_folder::save(&dir.model(), &ModelFiles { weights: &weights, ..trained })?;
    // Over random weights nobody could lay it, and other heads than this one transformers does not have.
    let wanted = config.lora.as_ref().filter(|_| trained.pooling == Pooling::Last);
    if let (Some(lora), Some(name)) = (wanted, base(&config.init_from)?) {
        save_adapter(&dir.adapter(), lora, &Base { name: &name, revision: commit }, &trained)?;
    }
    Ok(model::Classifier::new(trained.config, &weights, trained.pooling)?)
}

/// What an adapter names as its base: the model's folder, or its name on the Hub; none from scratch.
fn base(init_from: &str) -> Result<Option<String>> {
    if init_from == SCRATCH {
        return Ok(None);
    }
    if hub::is_name(init_from) {
        return Ok(Some(hub::Name::parse(init_from)?.id));
    }
    Ok(Some(hf_folder::locate(init_from.as_ref())?.display().to_string()))
}

/// Answers of the classifier to both parts, written into the directory, and what follows from them.
fn measure(
    of: &Material<'_>,
    state: &State,
    classifier: &model::Classifier,
    audit: Option<AuditResults>,
    dir: &RunDir,
    progress: &Progress,
) -> Result<Finetuned> {
    let Material { config, split, parts, .. } = of;
    let answers = |rows: &[Example], part: &Examples| -> Result<Predictions> {
        let (batch, device) = (config.train.micro_batch_size, state.params.device());
        Ok(Predictions {
            label_names: split.label_names.clone(),
            labels: rows.iter().map(|row| row.label).collect(),
            probabilities: probabilities(classifier, part, batch, &device, progress)?,
            text_sha256: rows.iter().map(|row| files::sha256(row.text.as_bytes())).collect(),
        })
    };
    let validation = answers(&split.validation, &parts.validation)?;
    let test = answers(&split.test, &parts.test)?;
    let (train_loss, val_loss) = state.counters.history.iter().copied().unzip();
    let log = Log::read(dir.path());
    let results = analysis::finetune(FinetuneRun {
        init_from: &config.init_from,
        seed: config.seed,
        positive: split.positive,
        decision: &config.decision,
        validation: &validation,
        test: &test,
        history: &History { train_loss, val_loss },
        evaluations: state.history(),
        parts: part_summaries(split, parts),
        audit,
        training: training_facts(config, state, parts),
    })?;
    let threshold = results.scores.test.threshold;
    test.write(&dir.path().join("predictions.jsonl"), split.positive, threshold)?;
    validation.write(&dir.path().join("validation_predictions.jsonl"), split.positive, threshold)?;
    let mistakes = mistakes(of, &test, threshold);
    Mistake::write_all(dir.path(), &mistakes)?;
    let (predictions, validation_predictions) = (test, Some(validation));
    let (dir, facts) = (dir.path().into(), RunFacts::read(dir.path()));
    Ok(Finetuned { dir, facts, results, predictions, validation_predictions, mistakes, log })
}

/// The most confident wrong answers on test.
fn mistakes(of: &Material<'_>, test: &Predictions, threshold: Option<f64>) -> Vec<Mistake> {
    fn texts(rows: &[Example]) -> Vec<&str> {
        rows.iter().map(|row| row.text.as_str()).collect()
    }
    let (train, asked) = (texts(&of.split.train), texts(&of.split.test));
    let train = LabelledTexts { texts: &train, labels: of.parts.train.labels() };
    analysis::mistakes(of.config.mistakes, test, (of.split.positive, threshold), &asked, train)
}

fn training_facts(config: &FinetuneConfig, state: &State, parts: &Parts) -> TrainingFacts {
    let counters = &state.counters;
    let best = counters.best.as_ref().filter(|_| config.train.restore_best);
    let all = [&parts.train, &parts.validation, &parts.test];
    let truncated: usize = all.map(|part| part.truncated).iter().sum();
    let rows: usize = all.map(|part| part.len()).iter().sum();
    let sampler = parts.train.sampler(config.train.micro_batch_size, config.seed);
    TrainingFacts {
        train_rows: parts.train.len(),
        train_loss: state.counters.history.last().map(|(train_loss, _)| *train_loss),
        steps: counters.step,
        best_step: best.map_or(counters.step, |best| best.step),
        tokens: counters.tokens,
        parameters: state.params.count(),
        trainable_parameters: state.trainable_count(),
        padded_share: padded_share(&parts.train.lengths(), &sampler.epoch(0)),
        truncated_share: truncated as f64 / rows as f64,
        tokens_per_sec: counters.tokens as f64 / counters.elapsed_secs.max(f64::MIN_POSITIVE),
        peak_memory_bytes: process::peak_memory_bytes(),
        wall_secs: counters.elapsed_secs,
    }
}

/// Share of padding, 0 to 1, that these batches would hold with each row as long as the longest of its batch.
fn padded_share(lengths: &[usize], batches: &[Vec<usize>]) -> f64 {
    let padded = |rows: &Vec<usize>| rows.len() * rows.iter().map(|row| lengths[*row]).max().unwrap_or(0);
    let (filled, all) = (lengths.iter().sum::<usize>(), batches.iter().map(padded).sum::<usize>());
    if all == 0 { 0.0 } else { 1.0 - filled as f64 / all as f64 }
}

/// Rows, labels and lengths of each part.
fn part_summaries(split: &LabelledSplit, parts: &Parts) -> Vec<PartSummary> {
    let named = [("train", &parts.train), ("validation", &parts.validation), ("test", &parts.test)];
    let summary = |(name, of): (&str, &Examples)| {
        PartSummary::of(name, &split.label_names, of.labels(), of.lengths(), of.truncated)
    };
    named.map(summary).into()
}
