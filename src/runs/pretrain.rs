//! Pre-training: bytes -> documents -> tokens -> windows -> steps -> figures and model.

use candle_core::Device;

use super::Context;
use super::fetch::Fetcher;
use super::language_model::LanguageModel;
use super::lifecycle;
use super::peak;
use super::start::Start;
use crate::checkpoint::Fingerprints;
use crate::config::{Config, PretrainConfig};
use crate::data::{self, LanguageData};
use crate::error::Result;
use crate::generate::{Generator, Sampling};
use crate::hf_folder::{self, ModelFiles, Sources, write_language_card};
use crate::metrics::Bleu;
use crate::model::{self, Head, ModelConfig, Pooling, flops_per_token, parameter_specs};
use crate::process;
use crate::progress::Progress;
use crate::report;
use crate::results::{Log, PretrainResults, Pretrained, RunFacts, Sample};
use crate::run_dir::RunDir;
use crate::tokenizer::Tokenizer;
use crate::trainer::{Asked, LanguageTask, Outcome, Prompts, Run, State, per_sec};

impl PretrainConfig {
    /// Defaults, on this text: a file, a folder or a glob.
    pub fn on(text: impl Into<String>) -> Self {
        let mut config = Self::default();
        config.data.train = vec![text.into()];
        config
    }
}

impl Pretrained {
    /// The model, ready to continue texts, on a GPU that is there or else on the CPU.
    ///
    /// Errors: as [`LanguageModel::load`].
    pub fn language_model(&self) -> Result<LanguageModel> {
        LanguageModel::load(&self.dir)
    }
}

/// What a pre-training works on.
struct Material<'a> {
    config: &'a PretrainConfig,
    data: LanguageData,
    model: ModelConfig,
}

/// Pre-trains as the config says; afterwards the run directory holds results and model.
///
/// Errors: bad input, a directory in use, a signal, divergence, each with its kind.
pub fn pretrain(config: &PretrainConfig, context: &Context) -> Result<Pretrained> {
    config.check()?;
    let Some(opened) = lifecycle::open("pretrain", &config.output_dir, config, context)? else {
        return Pretrained::load(config.output_dir.as_ref());
    };
    let (dir, progress) = (&opened.dir, &context.progress);
    let device = context.open_device(&config.device)?;
    let mut fetcher = Fetcher::new(progress);
    let local = fetcher.pretrain(config)?;
    let start = Start::open(&local.init_from)?;

    let data = data(&local, &start, progress)?;
    let corpus = data.corpus();
    let asked_config = config;
    let config = &completed(config, corpus.train.counts.tokens, progress);
    let asked = matches!(start, Start::Scratch).then_some(&config.model);
    let model = start.model_config(asked, corpus.tokenizer.vocab_size())?;
    config.train.check(model.max_position_embeddings())?;
    let start_sha256 = start.sha256()?;
    let mut state = state(config, start, &model, &device)?;
    progress.note(format!("model: {} parameters", state.params.count()));
    let fingerprints = fingerprints(corpus, start_sha256);
    if !lifecycle::resume(&mut state, &opened, &fingerprints, context)? {
        return Pretrained::load(config.output_dir.as_ref());
    }

    let mut manifest =
        lifecycle::manifest("pretrain", config.seed, &device, &config.init_from, &fingerprints);
    manifest.hub_commits = fetcher.commits;
    manifest.parameters = Some(state.params.count());
    manifest.trainable_parameters = Some(state.trainable_count());
    let running = lifecycle::begin(dir, asked_config, manifest, context)?;
    let material = Material { config, data, model };
    let prompts =
        Prompts { texts: config.prompts.clone(), sampling: config.sampling.clone(), seed: config.seed };
    let mut task = LanguageTask::new(&material.model, &state, &material.data, &config.train, prompts)?;
    task.prompt_limits()?.into_iter().for_each(|words| progress.warn(words));
    let run = Run {
        phase: "pretrain",
        train: &config.train,
        optim: &config.optim,
        seed: config.seed,
        dir,
        fingerprints: &fingerprints,
        progress,
    };
    if let Outcome::Interrupted(signal) = run.train(&mut task, &mut state)? {
        return Err(running.interrupted(signal));
    }
    if config.train.restore_best {
        state.restore_best()?;
    }
    let samples = store(&material, &state, &task, dir)?;
    let results = measure(&material, &state, &task, progress)?;
    let (facts, log) = (RunFacts::read(dir.path()), Log::read(dir.path()));
    let run = Pretrained { dir: dir.path().into(), facts, results, samples, log };
    publish(config, &run, dir)?;
    running.done()?;
    Ok(Pretrained { facts: RunFacts::read(dir.path()), ..run })
}

/// Tokens that are seen at least where nothing says when to end, and how often the same text is read for that at most.
const ENOUGH_TOKENS: f64 = 4e6;
const MOST_PASSES: f64 = 20.0;
/// Evaluations of such a run; the best of them is kept.
const EVALUATIONS: f64 = 10.0;

/// The config with an end that suits so many tokens of training text, where it leaves that open.
fn completed(config: &PretrainConfig, tokens: u64, progress: &Progress) -> PretrainConfig {
    let mut config = config.clone();
    if config.train.is_endless() {
        let passes = (ENOUGH_TOKENS / tokens.max(1) as f64).ceil().clamp(1.0, MOST_PASSES);
        config.train.max_epochs = passes;
        if config.train.eval_interval == 0 {
            let per_step = config.train.global_batch_size().saturating_mul(config.train.seq_len);
            let steps = passes * tokens as f64 / per_step.max(1) as f64;
            config.train.eval_interval = (steps / EVALUATIONS).ceil().max(1.0) as u64;
        }
        let times = if passes == 1.0 { "once".into() } else { format!("{passes} times") };
        progress.note(format!("from the data: {tokens} tokens are read {times}"));
    }
    config
}

/// What a run of this config is made from, without a tokenizer that is trained on its text; everything it names is on
/// this machine.
///
/// Errors: as reading the text, the model and the tokenizer.
pub fn origin(config: &PretrainConfig) -> Result<Fingerprints> {
    let start = Start::open(&config.init_from)?;
    let path = config.tokenizer.path.as_str();
    let tokenizer = match &start {
        Start::Pretrained(folder) => folder.tokenizer.sha256().to_string(),
        Start::Scratch if path.is_empty() => String::new(),
        Start::Scratch => Tokenizer::load(path.as_ref())?.sha256().to_string(),
    };
    let data = data::Corpus::open(&config.data)?.sha256().to_string();
    Ok(Fingerprints { data, tokenizer, frozen: String::new(), start: start.sha256()? })
}

/// What a resumed run must share with this one.
fn fingerprints(corpus: &data::TokenizedCorpus, start: String) -> Fingerprints {
    let (data, tokenizer) = (corpus.data_sha256.clone(), corpus.tokenizer.sha256().into());
    Fingerprints { data, tokenizer, frozen: String::new(), start }
}

/// The text as tokens: by the tokenizer of the model that training starts from, else by the config's.
fn data(local: &PretrainConfig, start: &Start, progress: &Progress) -> Result<LanguageData> {
    let mut tokenizer = local.tokenizer.clone();
    if let Start::Pretrained(_) = start {
        tokenizer.path = hf_folder::locate(local.init_from.as_ref())?.display().to_string();
    }
    let corpus = data::tokenize(&local.data, &tokenizer, progress)?;
    let data = LanguageData::new(corpus, local.train.seq_len, local.seed)?;
    describe_data(&data, progress);
    Ok(data)
}

/// Everything that training changes, before its first step.
fn state(config: &PretrainConfig, start: Start, model: &ModelConfig, device: &Device) -> Result<State> {
    let (head, train) = (Head::LanguageModel, &config.train);
    let (rows, tokens_per_row) = (train.micro_batch_size, train.seq_len as f64);
    let optimizer = config.optim.kind;
    Asked { model, head, train, optimizer, rows, tokens_per_row, trains_all: true }.check(device)?;
    let specs = parameter_specs(model, head);
    let params = lifecycle::computing(start.params(&specs, config.seed, device)?, config.train.precision)?;
    Ok(State::of_all(params, &specs, &config.optim))
}

fn describe_data(data: &LanguageData, progress: &Progress) {
    let corpus = data.corpus();
    let (train, validation) = (&corpus.train.counts, &corpus.validation.counts);
    progress.note(format!(
        "data: {} documents, {} tokens to train on, {} tokens to validate on; {:.2} bytes per token, vocabulary {}",
        train.documents,
        train.tokens,
        validation.tokens,
        train.text_bytes as f64 / train.tokens as f64,
        corpus.tokenizer.vocab_size(),
    ));
}

/// Writes samples and model folder.
fn store(of: &Material<'_>, state: &State, task: &LanguageTask<'_>, dir: &RunDir) -> Result<Vec<Sample>> {
    let samples = task.samples()?;
    Sample::write_all(dir.path(), &samples)?;
    let files = ModelFiles {
        config: &of.model,
        label_names: &[],
        pooling: Pooling::Last,
        decision: None,
        max_tokens: of.model.max_position_embeddings(),
        weights: &state.params.detached(),
        tokenizer: &of.data.corpus().tokenizer,
    };
    hf_folder::save(&dir.model(), &files)?;
    Ok(samples)
}

/// Final figures of the weights that are kept.
fn measure(
    of: &Material<'_>,
    state: &State,
    task: &LanguageTask<'_>,
    progress: &Progress,
) -> Result<PretrainResults> {
    let Material { config, data, model } = of;
    let device = state.params.device();
    let corpus = data.corpus();
    let validation = task.scores(progress)?;
    let bleu = continuation_bleu(of, task.eval_model(), progress)?;
    let counters = &state.counters;
    let tokens_per_sec = per_sec(counters.tokens, counters.elapsed_secs);
    let flops = flops_per_token(model, model.vocab_size(), config.train.seq_len);
    Ok(PretrainResults {
        phase: "pretrain".into(),
        init_from: config.init_from.clone(),
        validation,
        train_loss: state.counters.history.last().map(|(train_loss, _)| *train_loss),
        steps: counters.step,
        best_step: counters.best.as_ref().map_or(counters.step, |best| best.step),
        tokens: counters.tokens,
        train_tokens: corpus.train.counts.tokens,
        bytes_per_token: corpus.train.counts.text_bytes as f64 / corpus.train.counts.tokens as f64,
        vocab_size: model.vocab_size(),
        parameters: state.params.count(),
        tokens_per_sec,
        mfu: tokens_per_sec * flops / peak::product(&device, config.train.precision.dtype(&device)?)?,
        peak_memory_bytes: process::peak_memory_bytes(),
        wall_secs: counters.elapsed_secs,
        bleu: bleu.as_ref().map(|bleu| bleu.score),
        bleu_signature: bleu.map(|bleu| bleu.signature),
    })
}

fn publish(config: &PretrainConfig, run: &Pretrained, dir: &RunDir) -> Result<()> {
    let sources = Sources { init_from: &config.init_from, data: &config.data.train };
    write_language_card(&dir.model(), dir.name(), &run.results, &sources)?;
    report::publish(dir.path(), &run.results, &report::pretrained(run))
}

/// Tokens of a held-out document given as prompt, and continued for BLEU.
const BLEU_TOKENS: usize = 16;

/// Corpus BLEU of greedy continuations of the held-out documents' beginnings against what follows in them.
fn continuation_bleu(
    of: &Material<'_>,
    model: &model::LanguageModel,
    progress: &Progress,
) -> Result<Option<Bleu>> {
    let documents = of.data.validation_documents(2 * BLEU_TOKENS, of.config.bleu_prompts)?;
    if documents.is_empty() {
        return Ok(None);
    }
    let tokenizer = &of.data.corpus().tokenizer;
    let generator = Generator { model, tokenizer };
    let bar = progress.bar("continuing", documents.len() as u64);
    let (mut hypotheses, mut references) = (Vec::new(), Vec::new());
    for (done, document) in documents.iter().enumerate() {
        let ids = generator.ids(&document[..BLEU_TOKENS], &Sampling::greedy(BLEU_TOKENS), 0)?;
        hypotheses.push(tokenizer.decode(&ids)?);
        references.push(tokenizer.decode(&document[BLEU_TOKENS..2 * BLEU_TOKENS])?);
        bar.advance_to(done as u64 + 1, || "prompts".into());
    }
    Bleu::corpus(&hypotheses, &references).map(Some)
}
