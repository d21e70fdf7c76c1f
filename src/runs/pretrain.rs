//! Pre-training: bytes -> documents -> tokens -> windows -> steps -> figures and model.

use super::Options;
use super::fetch::Fetcher;
use super::lifecycle;
use super::peak;
use super::start::Start;
use crate::checkpoint::Fingerprints;
use crate::config::PretrainConfig;
use crate::data::{self, LanguageData};
use crate::device;
use crate::error::Result;
use crate::files;
use crate::generate::{Sampling, continuation};
use crate::hf_folder::{self, ModelFiles, Sources, write_card};
use crate::metrics::Bleu;
use crate::model::{Head, LanguageModel, ModelConfig, Pooling, flops_per_token, parameter_specs};
use crate::process;
use crate::progress::Progress;
use crate::report::{self, Style, pretrain_report};
use crate::results::PretrainResults;
use crate::run_dir::RunDir;
use crate::trainer::{LanguageTask, Outcome, Prompts, Run, State, language_scores};

/// Pre-trains as the config says; afterwards the run directory holds results and model.
///
/// Errors: bad input, a directory in use, a signal, divergence, each with its exit code.
pub fn pretrain(config: &PretrainConfig, options: &Options, progress: &Progress) -> Result<()> {
    let Some(dir) = lifecycle::open(&config.output_dir, config, options, progress)? else { return Ok(()) };
    let device = device::open(&config.device, progress)?;
    let mut fetcher = Fetcher::new(progress);
    let local = fetcher.pretrain(config)?;
    let start = Start::open(&local.init_from)?;

    let mut tokenizer_config = local.tokenizer.clone();
    if let Start::Pretrained(_) = start {
        tokenizer_config.path = hf_folder::locate(local.init_from.as_ref())?.display().to_string();
    }
    let corpus = data::tokenize(&local.data, &tokenizer_config, progress)?;
    let data = LanguageData::new(corpus, config.train.seq_len, config.seed)?;
    let corpus = data.corpus();
    describe_data(&data, progress);

    let asked = matches!(start, Start::Scratch).then_some(&config.model);
    let model = start.model_config(asked, corpus.tokenizer.vocab_size())?;
    config.train.check(model.max_position_embeddings())?;
    let specs = parameter_specs(&model, Head::LanguageModel);
    let params = start.params(&specs, config.seed, &device)?;
    let params = lifecycle::computing(params, config.train.precision)?;
    progress.note(format!("model: {} parameters", params.count()));
    let names = params.iter().map(|(name, _)| name.to_string()).collect();
    let mut state = State::new(params, names, &config.optim);
    let fingerprints = Fingerprints {
        data: corpus.data_sha256.clone(),
        tokenizer: corpus.tokenizer.sha256().into(),
        frozen: String::new(),
    };
    lifecycle::resume(&mut state, &dir, &fingerprints, options, progress)?;

    let mut manifest =
        lifecycle::manifest("pretrain", config.seed, &device, &config.init_from, &fingerprints);
    manifest.hub_commits = fetcher.commits;
    manifest.parameters = Some(state.params.count());
    manifest.trainable_parameters = Some(state.trainable_count());
    let step = state.counters.step;
    lifecycle::recorded(&dir, config, manifest, (options, step), || {
        let prompts =
            Prompts { texts: config.prompts.clone(), sampling: config.sampling.clone(), seed: config.seed };
        let mut task = LanguageTask::new(&model, &state.params, &data, &config.train, prompts)?;
        let run = Run {
            phase: "pretrain",
            train: &config.train,
            optim: &config.optim,
            head_learning_rate: config.optim.learning_rate,
            head_only_fraction: 0.0,
            seed: config.seed,
            dir: &dir,
            fingerprints: &fingerprints,
            progress,
        };
        let outcome = run.train(&mut task, &mut state)?;
        if outcome == Outcome::Finished {
            finish(config, &model, &mut state, &data, &task, &dir, progress)?;
        }
        Ok((outcome, ()))
    })
}

fn describe_data(data: &LanguageData, progress: &Progress) {
    let corpus = data.corpus();
    let (train, validation) = (&corpus.train, &corpus.validation);
    progress.note(format!(
        "data: {} documents, {} tokens to train on, {} tokens to validate on; {:.2} bytes per token, vocabulary {}",
        train.documents,
        train.tokens,
        validation.tokens,
        train.text_bytes as f64 / train.tokens as f64,
        corpus.tokenizer.vocab_size(),
    ));
}

/// Best weights, final figures, samples, BLEU, model folder, report.
fn finish(
    config: &PretrainConfig,
    model: &ModelConfig,
    state: &mut State,
    data: &LanguageData,
    task: &LanguageTask<'_>,
    dir: &RunDir,
    progress: &Progress,
) -> Result<()> {
    if config.train.restore_best {
        state.restore_best()?;
    }
    let device = state.params.device();
    let corpus = data.corpus();
    let batches = data.validation_batches(config.train.micro_batch_size);
    let token_bytes = corpus.tokenizer.token_bytes();
    let validation = language_scores(task.eval_model(), batches, &token_bytes, &device, progress)?;
    let bleu = continuation_bleu(config, model.max_position_embeddings(), task.eval_model(), data, progress)?;
    let samples: Vec<String> = task.samples()?.iter().map(|sample| format!("{sample}\n")).collect();
    files::write_atomic(&dir.path().join("samples.jsonl"), samples.concat().as_bytes())?;
    let files = ModelFiles {
        config: model,
        label_names: &[],
        pooling: Pooling::Last,
        max_tokens: model.max_position_embeddings(),
        weights: &state.params.detached(),
        tokenizer: &corpus.tokenizer,
    };
    hf_folder::save(&dir.model(), &files)?;

    let counters = &state.counters;
    let tokens_per_sec = counters.tokens as f64 / counters.elapsed_secs.max(f64::MIN_POSITIVE);
    let flops = flops_per_token(model, model.vocab_size(), config.train.seq_len);
    let results = PretrainResults {
        phase: "pretrain".into(),
        init_from: config.init_from.clone(),
        validation,
        train_loss: counters.history.last().map(|(train, _)| *train),
        steps: counters.step,
        best_step: counters.best.as_ref().map_or(counters.step, |best| best.step),
        tokens: counters.tokens,
        train_tokens: corpus.train.tokens,
        bytes_per_token: corpus.train.text_bytes as f64 / corpus.train.tokens as f64,
        vocab_size: model.vocab_size(),
        parameters: state.params.count(),
        tokens_per_sec,
        mfu: tokens_per_sec * flops / peak::product(&device, config.train.precision.dtype(&device)?)?,
        peak_memory_bytes: process::peak_memory_bytes(),
        wall_secs: counters.elapsed_secs,
        bleu: bleu.as_ref().map(|bleu| bleu.score),
        bleu_signature: bleu.map(|bleu| bleu.signature),
    };
    dir.write_json("results.json", &results)?;
    let sources = Sources { init_from: &config.init_from, data: &config.data.train };
    write_card(&dir.model(), dir.name(), &results, Pooling::Last, &sources)?;
    let text = pretrain_report(&results, Style::Markdown);
    files::write_atomic(&dir.path().join("report.md"), text.as_bytes())?;
    report::write_html(dir.path())
}

/// Tokens of a held-out document given as prompt, and continued for BLEU.
const BLEU_TOKENS: usize = 16;

/// Corpus BLEU of greedy continuations of the held-out documents' beginnings against what follows in them.
fn continuation_bleu(
    config: &PretrainConfig,
    max_positions: usize,
    model: &LanguageModel,
    data: &LanguageData,
    progress: &Progress,
) -> Result<Option<Bleu>> {
    let documents = data.validation_documents(2 * BLEU_TOKENS, config.bleu_prompts);
    if documents.is_empty() {
        return Ok(None);
    }
    let tokenizer = &data.corpus().tokenizer;
    let bar = progress.bar("continuing", documents.len() as u64);
    let (mut hypotheses, mut references) = (Vec::new(), Vec::new());
    for (done, document) in documents.iter().enumerate() {
        let (prompt, end) = (&document[..BLEU_TOKENS], tokenizer.end_of_text());
        let ids = continuation(model, prompt, &Sampling::greedy(BLEU_TOKENS), end, max_positions, 0)?;
        hypotheses.push(tokenizer.decode(&ids)?);
        references.push(tokenizer.decode(&document[BLEU_TOKENS..2 * BLEU_TOKENS])?);
        bar.advance_to(done as u64 + 1, || "prompts".into());
    }
    Bleu::corpus(&hypotheses, &references).map(Some)
}
