//! Fine-tuning: labelled rows -> tokens -> batches -> steps -> threshold -> scores, verdict and model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Device;

use super::Context;
use super::audit::{self, Known};
use super::fetch::Fetcher;
use super::lifecycle;
use super::start::Start;
use crate::analysis::add_audit;
use crate::baseline::nearest;
use crate::checkpoint::Fingerprints;
use crate::config::{AuditMode, Config, FinetuneConfig, SCRATCH};
use crate::data::{Example, Examples, LabelledSplit};
use crate::error::{Error, Result};
use crate::files;
use crate::hf_folder::{self, Base, ModelFiles, Sources, save_adapter, write_classifier_card};
use crate::hub;
use crate::metrics::calibration::Calibration;
use crate::metrics::course::Course;
use crate::metrics::decision::operating_points;
use crate::metrics::{History, Scores, Threshold, Verdict};
use crate::model::{Classifier, Head, ModelConfig, Pooling, parameter_specs};
use crate::process;
use crate::progress::Progress;
use crate::report::{self, Style, finetune_report};
use crate::results::{AuditResults, FinetuneResults, Mistake, PartSummary, Predictions};
use crate::run_dir::{RunDir, read_json};
use crate::tokenizer::Tokenizer;
use crate::trainer::{ClassificationData, ClassificationTask, Outcome, Run, State, probabilities};

/// A finished fine-tuning.
#[derive(Clone, Debug)]
pub struct Finetuned {
    /// Its run directory; `model/` in it holds the classifier.
    pub dir: PathBuf,
    /// What came out.
    pub results: FinetuneResults,
    /// Answers to the test rows.
    pub predictions: Predictions,
}

impl Finetuned {
    /// Reads the finished run at `dir`.
    ///
    /// Errors: no results (66) or those of another kind of run (65).
    pub fn load(dir: &Path) -> Result<Self> {
        let results = read_json(dir, "results.json")?;
        Ok(Self { dir: dir.into(), results, predictions: Predictions::read(&dir.join("predictions.jsonl"))? })
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
    let running = lifecycle::begin(&dir, config, manifest, context, state.counters.step)?;
    if let Outcome::Interrupted(signal) = train(&material, &mut state, &dir, &fingerprints, progress)? {
        return Err(running.interrupted(signal));
    }
    let classifier = store(&material, &state, commit.as_deref(), &dir)?;
    let mut results = measure(config, &state, &classifier, &material.split, &material.parts, &dir, progress)?;
    if let Some(audit) = audit {
        add_audit(dir.path(), audit, &mut results)?;
    }
    publish(config, &results, &dir)?;
    running.done()?;
    Finetuned::load(dir.path())
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
    let trains = |name: &String| match &config.lora {
        Some(lora) => lora.trains(name),
        None => config.classifier.trains(name, model),
    };
    let trainable = specs.into_iter().map(|spec| spec.name).filter(trains).collect();
    let state = State::new(params, trainable, &config.optim);
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
    let (lora, classifier) = (config.lora.as_ref(), &config.classifier);
    let mut task =
        ClassificationTask::new(model, lora, state, &data, classifier, &config.train, config.seed)?;
    let rate = classifier.head_learning_rate;
    let run = Run {
        phase: "finetune",
        train: &config.train,
        optim: &config.optim,
        head_learning_rate: if rate > 0.0 { rate } else { config.optim.learning_rate },
        head_only_fraction: classifier.head_only_fraction,
        seed: config.seed,
        dir,
        fingerprints,
        progress,
    };
    let outcome = run.train(&mut task, state)?;
    if outcome == Outcome::Finished {
        if run.head_only_fraction > 0.0 && state.step_of_stage(false) == 0 {
            progress.warn(HEAD_ALONE);
        }
        if config.train.restore_best {
            state.restore_best()?;
        }
    }
    Ok(outcome)
}

fn publish(config: &FinetuneConfig, results: &FinetuneResults, dir: &RunDir) -> Result<()> {
    dir.write_json("results.json", results)?;
    let data = [config.data.train.clone(), config.data.validation.clone(), config.data.test.clone()];
    let sources = Sources { init_from: &config.init_from, data: &data };
    write_classifier_card(&dir.model(), dir.name(), results, config.classifier.pooling, &sources)?;
    let text = finetune_report(results, Style::Markdown);
    files::write_atomic(&dir.path().join("report.md"), text.as_bytes())?;
    report::write_html(dir.path())
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
    let found = audit::of_split(split, known, (config.audit, config.audit_threshold), progress)?;
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
            "dropped {} duplicates, {} training rows that stand in validation or test, {} contradictory labels",
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

/// Said where a budget ended before the trunk was trained.
const HEAD_ALONE: &str = "the budget was too short for classifier.head_only_fraction: the head alone was trained; lower \
                          the fraction or raise the budget";

/// Said where low-rank updates begin from random weights.
const LORA_FROM_SCRATCH: &str = "[lora] from scratch: the random weights stay as they are, only their low-rank updates \
                                 and the head are trained; leave [lora] out to train everything, and no adapter is \
                                 stored, since nobody else has these weights";

/// Writes what was trained: `model/`, into which low-rank updates are merged, and those as `adapter/`. Returns the
/// classifier as stored.
fn store(of: &Material<'_>, state: &State, commit: Option<&str>, dir: &RunDir) -> Result<Classifier> {
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
    Ok(Classifier::new(trained.config, &weights, trained.pooling)?)
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

/// Chooses the threshold on validation, applies it once to test, and says what came out.
fn measure(
    config: &FinetuneConfig,
    state: &State,
    classifier: &Classifier,
    split: &LabelledSplit,
    parts: &Parts,
    dir: &RunDir,
    progress: &Progress,
) -> Result<FinetuneResults> {
    let device = state.params.device();
    let batch = config.train.micro_batch_size;
    let predict = |part: &Examples| probabilities(classifier, part, batch, &device, progress);
    let (on_validation, on_test) = (predict(&parts.validation)?, predict(&parts.test)?);
    let sampler = parts.train.sampler(batch, config.seed);
    let steps_per_epoch = sampler.batches_per_epoch().div_ceil(config.train.grad_accum_steps as u64) as f64;
    let scores = |part: &Examples, probabilities: &[Vec<f64>], threshold| {
        let (names, positive) = (&split.label_names, split.positive);
        Scores::compute(part.labels(), probabilities, names, positive, threshold, Some(config.seed))
    };
    let said = |rows: &[Example], probabilities: &[Vec<f64>]| Predictions {
        label_names: split.label_names.clone(),
        labels: rows.iter().map(|row| row.label).collect(),
        probabilities: probabilities.to_vec(),
        text_sha256: rows.iter().map(|row| files::sha256(row.text.as_bytes())).collect(),
    };
    let (said_validation, said_test) = (said(&split.validation, &on_validation), said(&split.test, &on_test));
    let ((positives, values), (test_positives, test_values)) =
        (said_validation.one_label(split.positive), said_test.one_label(split.positive));
    let (rows, test_rows) = ((&positives[..], &values[..]), (&test_positives[..], &test_values[..]));
    let binary = split.label_names.len() == 2;

    let frozen = Threshold::Fixed(config.decision.rule().choose(rows).0);
    let validation = scores(&parts.validation, &on_validation, frozen)?;
    let test = scores(&parts.test, &on_test, frozen)?;
    let call = |probabilities: &[f64]| called(probabilities, split.positive, test.threshold);
    said_test.write(&dir.path().join("predictions.jsonl"), call)?;
    said_validation.write(&dir.path().join("validation_predictions.jsonl"), call)?;
    report::write_mistakes(dir.path(), &mistakes(config.mistakes, split, &said_test, call))?;

    let counters = &state.counters;
    let (train_loss, val_loss) = counters.history.iter().copied().unzip();
    let history = History { train_loss, val_loss };
    let best = counters.best.as_ref().filter(|_| config.train.restore_best);
    let best_step = best.map_or(counters.step, |best| best.step);
    let truncated: usize =
        [&parts.train, &parts.validation, &parts.test].map(|part| part.truncated).iter().sum();
    let all_rows = parts.train.len() + parts.validation.len() + parts.test.len();
    Ok(FinetuneResults {
        phase: "finetune".into(),
        init_from: config.init_from.clone(),
        seed: config.seed,
        positive: split.label_names[split.positive].clone(),
        per_class: test.per_class.clone(),
        verdict: Verdict::judge(&test, Some(&history)),
        operating_points: if binary {
            operating_points(&config.decision, rows, test_rows)
        } else {
            Vec::new()
        },
        calibration: Some(Calibration::measure(
            (parts.validation.labels(), &on_validation),
            (parts.test.labels(), &on_test),
            split.positive,
        )),
        course: Course::of(&report::evaluations(dir.path(), steps_per_epoch), best_step),
        parts: part_summaries(split, parts),
        audit: None,
        clean: None,
        validation,
        test,
        train_rows: parts.train.len(),
        train_loss: history.train_loss.last().copied(),
        steps: counters.step,
        best_step,
        tokens: counters.tokens,
        parameters: state.params.count(),
        trainable_parameters: state.trainable_count(),
        padded_share: parts.train.padded_share(&sampler, 0),
        truncated_share: truncated as f64 / all_rows as f64,
        tokens_per_sec: counters.tokens as f64 / counters.elapsed_secs.max(f64::MIN_POSITIVE),
        peak_memory_bytes: process::peak_memory_bytes(),
        wall_secs: counters.elapsed_secs,
    })
}

/// The most confident wrong answers, each with the training text nearest to it.
fn mistakes(
    count: usize,
    split: &LabelledSplit,
    said: &Predictions,
    call: impl Fn(&[f64]) -> usize,
) -> Vec<Mistake> {
    let wrong = said.probabilities.iter().enumerate().filter_map(|(row, probabilities)| {
        let called = call(probabilities);
        (called != said.labels[row] as usize).then_some((row, called, probabilities[called]))
    });
    let mut wrong: Vec<(usize, usize, f64)> = wrong.collect();
    wrong.sort_by(|a, b| b.2.total_cmp(&a.2));
    let texts: Vec<String> = split.train.iter().map(|row| row.text.clone()).collect();
    let name = |label: usize| split.label_names[label].clone();
    wrong.truncate(count);
    let asked: Vec<String> = wrong.iter().map(|(row, ..)| split.test[*row].text.clone()).collect();
    let near = if asked.is_empty() { Vec::new() } else { nearest(&texts, &asked) };
    let mistake = |((row, called, probability), near): ((usize, usize, f64), Option<(usize, f64)>)| Mistake {
        id: row,
        label: name(said.labels[row] as usize),
        predicted: name(called),
        probability,
        text: split.test[row].text.clone(),
        nearest_text: near.map(|(at, _)| texts[at].clone()),
        nearest_label: near.map(|(at, _)| name(split.train[at].label as usize)),
        nearest_similarity: near.map_or(0.0, |(_, cosine)| cosine),
    };
    wrong.into_iter().zip(near).map(mistake).collect()
}

/// Rows, labels and lengths of each part.
fn part_summaries(split: &LabelledSplit, parts: &Parts) -> Vec<PartSummary> {
    let named = [("train", &parts.train), ("validation", &parts.validation), ("test", &parts.test)];
    let summary = |(name, examples): (&str, &Examples)| {
        let count = |label: usize| examples.labels().iter().filter(|own| **own as usize == label).count();
        let labels: BTreeMap<String, usize> =
            split.label_names.iter().enumerate().map(|(label, name)| (name.clone(), count(label))).collect();
        let mut tokens = examples.lengths();
        tokens.sort_unstable();
        let quantile = |share: f64| tokens[(share * (tokens.len() - 1) as f64).round() as usize];
        PartSummary {
            part: name.into(),
            rows: examples.len(),
            labels,
            median_tokens: quantile(0.5),
            p95_tokens: quantile(0.95),
            max_tokens: quantile(1.0),
            truncated: examples.truncated,
        }
    };
    named.map(summary).into()
}

/// The label called: by threshold with two labels, the likeliest with more.
pub fn called(probabilities: &[f64], positive: usize, threshold: Option<f64>) -> usize {
    match threshold {
        Some(threshold) if probabilities[positive] >= threshold => positive,
        Some(_) => 1 - positive,
        None => crate::metrics::classification::argmax(probabilities) as usize,
    }
}
