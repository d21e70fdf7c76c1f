//! What a fine-tuned classifier answers, and the results that follow.

use super::material::{Material, Parts};
use crate::analysis::{self, FinetuneRun, LabelledTexts};
use crate::config::FinetuneConfig;
use crate::data::{Example, Examples, LabelledSplit};
use crate::error::Result;
use crate::files;
use crate::metrics::History;
use crate::metrics::combination::Combination;
use crate::model::Classifier;
use crate::process;
use crate::progress::Progress;
use crate::results::{
    AuditResults, FinetuneResults, Finetuned, Log, Mistake, PartSummary, Predictions, RunFacts, TrainingFacts,
};
use crate::run_dir::RunDir;
use crate::runs::beside::Beside;
use crate::trainer::per_sec;
use crate::trainer::{State, probabilities};

/// A measured run, and what its transformer has found out alone.
pub struct Measured {
    /// The run.
    pub run: Finetuned,
    /// The results without n-grams; those of the run where there are none.
    pub alone: FinetuneResults,
}

/// Answers of the classifier to both parts, written into the directory, and what follows from them.
pub fn measure(
    of: &Material<'_>,
    state: &State,
    classifier: &Classifier,
    audit: Option<AuditResults>,
    dir: &RunDir,
    progress: &Progress,
) -> Result<Measured> {
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
    let mut validation = answers(&split.validation, &parts.validation)?;
    let mut test = answers(&split.test, &parts.test)?;
    let alone = results(of, state, (&validation, &test), None, audit.clone())?;
    let mut own = alone.clone();
    if config.classifier.with_ngrams {
        let beside = Beside::fit(split, &validation)?;
        beside.write(dir.path())?;
        validation = beside.answers(&split.validation, &validation);
        test = beside.answers(&split.test, &test);
        own = results(of, state, (&validation, &test), Some(beside.exponents), audit)?;
    }
    let threshold = own.scores.test.threshold;
    test.write(&dir.path().join("predictions.jsonl"), split.positive, threshold)?;
    validation.write(&dir.path().join("validation_predictions.jsonl"), split.positive, threshold)?;
    let mistakes = mistakes(of, &test, threshold);
    Mistake::write_all(dir.path(), &mistakes)?;
    let (predictions, validation_predictions, log) = (test, Some(validation), Log::read(dir.path()));
    let (dir, facts) = (dir.path().into(), RunFacts::read(dir.path()));
    let run = Finetuned { dir, facts, results: own, predictions, validation_predictions, mistakes, log };
    Ok(Measured { run, alone })
}

/// What follows from answers to validation and test.
fn results(
    of: &Material<'_>,
    state: &State,
    (validation, test): (&Predictions, &Predictions),
    with_ngrams: Option<Combination>,
    audit: Option<AuditResults>,
) -> Result<FinetuneResults> {
    let Material { config, split, parts, .. } = of;
    let (train_loss, val_loss) = state.counters.history.iter().copied().unzip();
    analysis::finetune(FinetuneRun {
        init_from: &config.init_from,
        seed: config.seed,
        positive: split.positive,
        positive_leads: split.positive_leads,
        decision: &config.decision,
        validation,
        test,
        with_ngrams,
        history: &History { train_loss, val_loss },
        evaluations: state.history(),
        parts: part_summaries(split, parts),
        audit,
        training: training_facts(config, state, parts),
    })
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
    let truncated: usize = all.map(|part| part.truncated()).iter().sum();
    let rows: usize = all.map(|part| part.len()).iter().sum();
    let sampler = parts.train.sampler(config.train.micro_batch_size, config.seed);
    TrainingFacts {
        train_rows: parts.train.len(),
        train_loss: state.counters.history.last().map(|(train_loss, _)| *train_loss),
        seq_len: config.train.seq_len,
        windows: config.classifier.windows,
        learning_rate: config.optim.learning_rate,
        head_learning_rate: match config.classifier.head_learning_rate {
            0.0 => config.optim.learning_rate,
            own => own,
        },
        steps: counters.step,
        best_step: best.map_or(counters.step, |best| best.step),
        tokens: counters.tokens,
        parameters: state.params.count(),
        trainable_parameters: state.trainable_count(),
        padded_share: padded_share(&parts.train.window_lengths(), &sampler.epoch(0)),
        truncated_share: truncated as f64 / rows as f64,
        tokens_per_sec: per_sec(counters.tokens, counters.elapsed_secs),
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
        PartSummary::of(name, &split.label_names, of.labels(), of.lengths(), of.truncated())
    };
    named.map(summary).into()
}
