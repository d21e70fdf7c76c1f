//! Parses, dispatches, and turns the outcome into an exit code.

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use train::cli::{
    Cli, ColumnArgs, Command, ConfigCommand, DataCommand, Phase, Quantize, RunArgs, TokenizerCommand,
};
use train::commands;
use train::commands::data::{AuditOptions, ColumnNames, InspectOptions, SplitOptions};
use train::config::{self, CompareConfig, Config, FinetuneConfig, Flag, PretrainConfig, Source};
use train::data::CorpusConfig;
use train::error::{Error, Result};
use train::generate::Sampling;
use train::hf_folder::Quantization;
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
            let config: PretrainConfig = load(&run, None, None)?;
            commands::pretrain::run(&config, &context(&run, &progress), json)
        }
        Command::Finetune { run, init_from, fail_under } => {
            let init_from = init_from.map(|place| Flag::new("--init-from", "init_from", place));
            let config: FinetuneConfig = load(&run, init_from, None)?;
            commands::finetune::run(&config, &fail_under, &context(&run, &progress), json)
        }
        Command::Compare { run } => {
            let config: CompareConfig = load(&run, None, Some(DEMONSTRATION))?;
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
            let quantization = match quantize {
                Quantize::F32 => Quantization::F32,
                Quantize::Q8_0 => Quantization::Q8_0,
            };
            commands::export::run(&run_dir, &to, quantization, overwrite, &progress)
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
        Command::Config(command) => config(command),
    }
}

fn config(command: ConfigCommand) -> Result<()> {
    use commands::configs::{check, schema};
    match command {
        ConfigCommand::Schema { phase: Phase::Pretrain } => schema::<PretrainConfig>(),
        ConfigCommand::Schema { phase: Phase::Finetune } => schema::<FinetuneConfig>(),
        ConfigCommand::Schema { phase: Phase::Compare } => schema::<CompareConfig>(),
        ConfigCommand::Check { phase, config, sets } => match phase {
            Phase::Pretrain => check::<PretrainConfig>(&config, &sets),
            Phase::Finetune => check::<FinetuneConfig>(&config, &sets),
            Phase::Compare => check::<CompareConfig>(&config, &sets),
        },
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
fn load<C: Config>(run: &RunArgs, flag: Option<Flag>, built_in: Option<&str>) -> Result<C> {
    let source = match (&run.config, built_in) {
        (Some(path), _) => Source::File(path),
        (None, Some(text)) => Source::Text("built-in demonstration", text),
        (None, None) => return Err(Error::usage("no config: give --config FILE; configs/ has examples")),
    };
    let device = run.device.iter().map(|device| Flag::new("--device", "device", device.as_str()));
    config::load(source, &run.sets, &device.chain(flag).collect::<Vec<_>>())
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
