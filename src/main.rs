//! Parses, dispatches, and turns the outcome into an exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use train::cli::{Cli, ColumnArgs, Command, ConfigCommand, DataCommand, Quantize, RunArgs, TokenizerCommand};
use train::commands;
use train::commands::data::{AuditOptions, ColumnNames, InspectOptions, SplitOptions};
use train::config::{self, CompareConfig, Config, FinetuneConfig, PretrainConfig};
use train::data::CorpusConfig;
use train::error::{Error, Result};
use train::generate::Sampling;
use train::hf_folder::Precision;
use train::progress::{Level, Progress, Terminal};
use train::run_dir::Existing;
use train::runs::Context;
use train::tokenizer::TokenizerConfig;
use train::{process, signals};

/// What `train compare` does when it is not told otherwise.
const DEMONSTRATION: &str = include_str!("../configs/demo-compare.toml");

fn main() -> ExitCode {
    process::keep_freed_memory();
    signals::install();
    let command = || parse().and_then(run);
    // On a worker of the thread pool work is shared out without going to sleep first. A pool of one thread must
    // stay free for the work of other threads, which this one waits for.
    let outcome = if rayon::current_num_threads() > 1 { rayon::scope(|_| command()) } else { command() };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(commands::exit_code(error.kind))
        }
    }
}

/// The command line; help and version are printed at once, help also where a command is missing; mistakes become one
/// line as all errors do.
fn parse() -> Result<Cli> {
    Cli::try_parse().map_err(|mistake| {
        if !mistake.use_stderr() || mistake.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            mistake.exit();
        }
        let text = mistake.to_string();
        let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
        let parts: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        Error::usage(parts.join(" ").trim_start_matches("error: "))
    })
}

fn run(cli: Cli) -> Result<()> {
    let progress = Progress::to(Terminal::new(match (cli.quiet, cli.verbose) {
        (true, _) => Level::Warning,
        (_, true) => Level::Detail,
        _ => Level::Note,
    }));
    let json = cli.json;
    match cli.command {
        Command::Doctor { device } => commands::doctor::run(&device, json, &progress),
        Command::Pretrain { run } => {
            let mut config: PretrainConfig = load(&run, None)?;
            config.device = run.device.clone().unwrap_or(config.device);
            commands::pretrain::run(&config, &context(&run, &progress), json)
        }
        Command::Finetune { run, init_from, fail_under } => {
            let mut config: FinetuneConfig = load(&run, None)?;
            config.device = run.device.clone().unwrap_or(config.device);
            config.init_from = init_from.unwrap_or(config.init_from);
            commands::finetune::run(&config, &fail_under, &context(&run, &progress), json)
        }
        Command::Compare { run } => {
            let mut config: CompareConfig = load(&run, Some(DEMONSTRATION))?;
            config.device = run.device.clone().unwrap_or(config.device);
            commands::compare::run(&config, &context(&run, &progress), json)
        }
        Command::Evaluate { run_dir, data, text_column, label_column, fail_under, device } => {
            let columns = (text_column, label_column);
            let (data, device, gates) = (&data, &device, &fail_under);
            let options = commands::evaluate::EvaluateOptions { data, device, columns, gates, json };
            commands::evaluate::run(&run_dir, &options, &progress)
        }
        Command::Predict { run_dir, texts, input, device } => {
            commands::predict::run(&run_dir, &texts, input.as_ref(), &device, &progress)
        }
        Command::Generate { run_dir, prompt, temperature, top_k, top_p, seed, max_new_tokens, device } => {
            let sampling = Sampling { temperature, top_k, top_p, max_new_tokens };
            commands::generate::run(&run_dir, &prompt, &sampling, seed, (&device, json), &progress)
        }
        Command::Export { run_dir, to, quantize, overwrite } => {
            let precision = match quantize {
                Quantize::F32 => Precision::F32,
                Quantize::Q8_0 => Precision::Q8_0,
            };
            commands::export::run(&run_dir, &to, precision, overwrite, &progress)
        }
        Command::Report { run_dirs } => commands::report(&run_dirs, json, &progress),
        Command::Data(command) => data(command, json, &progress),
        Command::Tokenizer(TokenizerCommand::Train {
            data,
            output,
            vocab_size,
            min_frequency,
            single_digits,
            overwrite,
        }) => {
            let data = CorpusConfig { train: data, ..CorpusConfig::default() };
            let config = TokenizerConfig { path: String::new(), vocab_size, min_frequency, single_digits };
            commands::tokenizer::train(&data, &config, &output, overwrite, &progress)
        }
        Command::Tokenizer(TokenizerCommand::Inspect { path, against, text, data }) => {
            let (against, data) = (against.as_deref(), data.as_deref());
            commands::tokenizer::inspect(&path, against, text.as_deref(), data, json, &progress)
        }
        Command::Config(ConfigCommand::Schema { phase }) => commands::configs::schema(phase),
        Command::Config(ConfigCommand::Check { phase, config, sets }) => {
            commands::configs::check(phase, &config, &sets)
        }
    }
}

fn data(command: DataCommand, json: bool, progress: &Progress) -> Result<()> {
    let split = |columns: ColumnArgs| {
        (columns.threshold, ColumnNames { text: columns.text_column, label: columns.label_column })
    };
    match command {
        DataCommand::Audit { train, validation, test, corpus, document, deny, columns } => {
            let parts =
                [("train", train.as_ref()), ("validation", validation.as_ref()), ("test", test.as_ref())];
            let (threshold, columns) = split(columns);
            let (corpus, document) = (&corpus, &document);
            let options = AuditOptions { parts, corpus, document, threshold, deny, columns, json };
            commands::data::audit(&options, progress)
        }
        DataCommand::Split { file, output, validation_fraction, test_fraction, seed, overwrite, columns } => {
            let (threshold, columns) = split(columns);
            let options = SplitOptions {
                output: &output,
                validation_fraction,
                test_fraction,
                threshold,
                seed,
                overwrite,
                columns,
                json,
            };
            commands::data::split(&file, &options)
        }
        DataCommand::Inspect { file, tokenizer, seq_len, columns } => {
            let (threshold, columns) = split(columns);
            let options = InspectOptions { tokenizer: tokenizer.as_ref(), seq_len, threshold, columns, json };
            commands::data::inspect(&file, &options, progress)
        }
    }
}

/// The config named by the flags, or the built-in one of the command.
fn load<C: Config>(run: &RunArgs, built_in: Option<&str>) -> Result<C> {
    match (&run.config, built_in) {
        (Some(path), _) => config::load(&PathBuf::from(path), &run.sets),
        (None, Some(text)) => config::parse("built-in demonstration", text, &run.sets),
        (None, None) => Err(Error::usage("no config: give --config FILE; configs/ has examples")),
    }
}

fn context(run: &RunArgs, progress: &Progress) -> Context {
    let existing = match (run.resume, run.overwrite) {
        (true, _) => Existing::Resume,
        (_, true) => Existing::Overwrite,
        _ => Existing::Refuse,
    };
    let allow_data_change = run.allow_data_change;
    Context { progress: progress.clone(), existing, allow_data_change, ..Context::default() }
}
