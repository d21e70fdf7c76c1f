//! One file per command: calls the library and prints.
//!
//! Layer 9.

mod configs;
mod data;
mod doctor;
mod evaluate;
mod export;
mod gates;
mod generate;
mod itself;
mod predict;
mod print;
mod reading;
mod runs;
mod tokenizer;

use std::process::ExitCode;

use crate::cli::{self, Cli, Command, DataCommand, TokenizerCommand};
use crate::error::{Error, ErrorKind, Result};
use crate::process;
use crate::progress::{Level, Progress, Terminal, say};

/// Does what the command line says; an error is one line on stderr and an exit code.
pub fn main() -> ExitCode {
    process::silence_panics();
    let ended =
        process::caught(|| cli::parse().and_then(on_threads)).unwrap_or_else(|words| Err(bug(&words)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::from(exit_code(error.kind))
        }
    }
}

/// On a worker of the thread pool work is shared out without going to sleep first. A pool of one thread must stay free
/// for the work of other threads, which this one waits for.
fn on_threads(cli: Cli) -> Result<()> {
    process::start_threads()?;
    if rayon::current_num_threads() > 1 { rayon::scope(|_| run(cli)) } else { run(cli) }
}

fn bug(words: &str) -> Error {
    let hint =
        "this is a fault of train: please report it with the command line, and what RUST_BACKTRACE=1 shows";
    Error::new(ErrorKind::Bug, format!("train {} panicked: {words}; {hint}", env!("CARGO_PKG_VERSION")))
}

fn run(cli: Cli) -> Result<()> {
    let least = match (cli.quiet, cli.verbose) {
        (true, _) => Level::Warning,
        (_, true) => Level::Detail,
        _ => Level::Note,
    };
    let (progress, json) = (&Progress::to(Terminal::new(least)), cli.json);
    match &cli.command {
        Command::Doctor(args) => doctor::run(&args.device, json, progress),
        Command::Pretrain(args) => runs::pretrain(args, json, progress),
        Command::Finetune(args) => runs::finetune(args, json, progress),
        Command::Compare(args) => runs::compare(args, json, progress),
        Command::Evaluate(args) => evaluate::run(args, json, progress),
        Command::Predict(args) => predict::run(args, progress),
        Command::Generate(args) => generate::run(args, json, progress),
        Command::Export(args) => export::run(args, json, progress),
        Command::Report(args) => runs::report(&args.run_dirs, json, progress),
        Command::Data(DataCommand::Audit(args)) => data::audit(args, json, progress),
        Command::Data(DataCommand::Split(args)) => data::split(args, json, progress),
        Command::Data(DataCommand::Inspect(args)) => data::inspect(args, json, progress),
        Command::Tokenizer(TokenizerCommand::Train(args)) => tokenizer::train(args, json, progress),
        Command::Tokenizer(TokenizerCommand::Inspect(args)) => tokenizer::inspect(args, json, progress),
        Command::Config(command) => configs::run(command, json),
        Command::Completions { shell } => itself::completions(*shell),
        Command::Manual { folder } => itself::manual(folder),
    }
}

/// Exit code of the program after an error of this kind. Source: sysexits.h for 65 to 75.
pub fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Failed => 1,
        ErrorKind::Usage => 2,
        ErrorKind::Gate => 3,
        ErrorKind::BadData => 65,
        ErrorKind::MissingInput => 66,
        ErrorKind::Device => 69,
        ErrorKind::Bug => 70,
        ErrorKind::Output => 73,
        ErrorKind::Io => 74,
        ErrorKind::TryAgain => 75,
        ErrorKind::Diverged => 76,
        ErrorKind::Interrupted(signal) => 128 + signal as u8,
    }
}
