//! What can be typed.
//!
//! Layer 8; clap structs and nothing else.

use std::io::ErrorKind::BrokenPipe;
use std::io::Write;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::error::{Error, Result};

/// The command line; help and version are printed at once, help also where a command is missing; mistakes become one
/// line as all errors do.
pub fn parse() -> Result<Cli> {
    Cli::try_parse().map_err(|mistake| {
        if !mistake.use_stderr() || mistake.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            let printed = mistake.print().and_then(|()| std::io::stdout().flush());
            match printed {
                Err(cause) if !mistake.use_stderr() && cause.kind() != BrokenPipe => {
                    return Error::new(crate::error::ErrorKind::Io, format!("cannot write help: {cause}"));
                }
                _ => std::process::exit(mistake.exit_code()),
            }
        }
        let text = mistake.to_string();
        let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
        let parts: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        Error::usage(parts.join(" ").trim_start_matches("error: "))
    })
}

/// The whole command line, described.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Pre-trains a tiny transformer, fine-tunes it as a text classifier, and says whether pre-training helped.
#[derive(Debug, Parser)]
#[command(name = "train", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Only warnings on stderr.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// More on stderr.
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Print one JSON object on stdout instead of tables.
    #[arg(long, global = true)]
    pub json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What this machine has, how fast it is, and whether every op is right on its device.
    Doctor(DoctorArgs),
    /// Train a language model on raw text.
    Pretrain(RunArgs),
    /// Train a classifier on labelled text, from a pre-trained model or from scratch.
    Finetune(FinetuneArgs),
    /// Pre-trained against from scratch over seeds and label budgets; without a config, the demonstration.
    Compare(CompareArgs),
    /// Score a finished run on another file: labelled rows, or raw text for a language model.
    Evaluate(EvaluateArgs),
    /// Label texts with a fine-tuned run, one JSON line each.
    Predict(PredictArgs),
    /// Continue a prompt with a pre-trained run.
    Generate(GenerateArgs),
    /// Write the model of a finished run for other programs: a folder that transformers loads, or a GGUF file.
    Export(ExportArgs),
    /// Print the tables of finished runs again.
    Report(ReportArgs),
    /// Look into labelled data: overlaps, classes and lengths, a split without overlaps.
    #[command(subcommand)]
    Data(DataCommand),
    /// Train or look into a tokenizer.
    #[command(subcommand)]
    Tokenizer(TokenizerCommand),
    /// Check a config without running it.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print what a shell completes commands and flags by.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the pages of the manual, one per command.
    Manual {
        /// Folder for them.
        folder: PathBuf,
    },
}

/// `train doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: String,
}

/// `train finetune`.
#[derive(Debug, Args)]
pub struct FinetuneArgs {
    /// Flags that all runs share.
    #[command(flatten)]
    pub run: RunArgs,
    /// Run directory, Hugging Face folder, GGUF file or `scratch`; overrides the config.
    #[arg(long)]
    pub init_from: Option<String>,
    /// Exit 3 when a test score is below this, such as f1=0.8; may be given again.
    #[arg(long, value_name = "SCORE=VALUE")]
    pub fail_under: Vec<String>,
}

/// `train compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Flags that all runs share.
    #[command(flatten)]
    pub run: RunArgs,
    /// Cross-validation: every row is tested once for each seed, in so many folds; overrides the config.
    #[arg(long)]
    pub folds: Option<u32>,
}

/// `train evaluate`.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// Finished run, Hugging Face folder or GGUF file.
    pub run_dir: PathBuf,
    /// File to score it on.
    #[arg(long)]
    pub data: PathBuf,
    /// Column with the text, where it differs from the run's.
    #[arg(long)]
    pub text_column: Option<String>,
    /// Column with the label, where it differs from the run's.
    #[arg(long)]
    pub label_column: Option<String>,
    /// How the file is written.
    #[command(flatten)]
    pub reading: ReadingArgs,
    /// Exit 3 when a score is below this, such as f1=0.8; may be given again.
    #[arg(long, value_name = "SCORE=VALUE")]
    pub fail_under: Vec<String>,
    /// auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: String,
}

/// `train predict`.
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// Finished run, Hugging Face folder or hf://OWNER/NAME.
    pub run_dir: PathBuf,
    /// Texts, or - for standard input with one text a line.
    pub texts: Vec<String>,
    /// File with texts: .txt one a line, .csv, .tsv, .jsonl or .parquet by the run's text column.
    #[arg(long, conflicts_with = "texts")]
    pub input: Option<PathBuf>,
    /// Column with the text, where it differs from the run's.
    #[arg(long)]
    pub text_column: Option<String>,
    /// How the file or standard input is written.
    #[command(flatten)]
    pub reading: ReadingArgs,
    /// auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: String,
}

/// `train generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// Finished run, Hugging Face folder or GGUF file.
    pub run_dir: PathBuf,
    /// Text to continue.
    #[arg(long, default_value = "")]
    pub prompt: String,
    /// Logits are divided by it; 0 always takes the likeliest token.
    #[arg(long, default_value_t = 0.8, allow_negative_numbers = true)]
    pub temperature: f64,
    /// Only this many likeliest tokens; 0 takes all.
    #[arg(long, default_value_t = 50)]
    pub top_k: usize,
    /// Only the likeliest tokens that together reach this probability.
    #[arg(long, default_value_t = 0.95, allow_negative_numbers = true)]
    pub top_p: f64,
    /// Seed of the choice.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Most tokens to add.
    #[arg(long, default_value_t = 100)]
    pub max_new_tokens: usize,
    /// auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    pub device: String,
}

/// `train export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Finished run, Hugging Face folder or GGUF file.
    pub run_dir: PathBuf,
    /// Folder to write, or file whose name ends in .gguf.
    #[arg(long)]
    pub to: PathBuf,
    /// How a GGUF file stores matrices.
    #[arg(long, value_enum, default_value_t = Quantize::F32)]
    pub quantize: Quantize,
    /// Replace what is there.
    #[arg(long)]
    pub overwrite: bool,
}

/// `train report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Run directories.
    #[arg(required = true)]
    pub run_dirs: Vec<PathBuf>,
}

/// Forms of matrices in a GGUF file.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Quantize {
    /// As they are.
    F32,
    /// 8-bit integers in blocks of 32 with one scale each.
    #[value(name = "q8_0")]
    Q8_0,
}

/// Flags that all runs share.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// TOML file; configs/ has examples.
    #[arg(short, long)]
    pub config: Option<PathBuf>,
    /// Change one key of the config, such as train.max_steps=200; may be given again.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Go on from the newest checkpoint in the run directory.
    #[arg(long, conflicts_with = "overwrite")]
    pub resume: bool,
    /// Remove the run that is in the run directory.
    #[arg(long)]
    pub overwrite: bool,
    /// With --resume: go on although the data changed.
    #[arg(long, requires = "resume")]
    pub allow_data_change: bool,
    /// auto, cpu, cuda or cuda:N; overrides the config.
    #[arg(long)]
    pub device: Option<String>,
}

/// How a file of rows is written.
#[derive(Debug, Args)]
pub struct ReadingArgs {
    /// Format of the rows, whatever the name of the file says.
    #[arg(long, value_parser = ["text", "tsv", "csv", "jsonl", "parquet"])]
    pub format: Option<String>,
    /// Replace undecodable bytes instead of stopping.
    #[arg(long)]
    pub lossy: bool,
}

/// How labelled files are read.
#[derive(Debug, Args)]
pub struct ColumnArgs {
    /// How they are written.
    #[command(flatten)]
    pub reading: ReadingArgs,
    /// Column or key with the text.
    #[arg(long, default_value = "text")]
    pub text_column: String,
    /// Column or key with the label.
    #[arg(long, default_value = "label")]
    pub label_column: String,
    /// Jaccard similarity of word triples from which two texts are nearly the same.
    #[arg(long, default_value_t = 0.8)]
    pub threshold: f64,
}

/// `train data`.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Find rows that have an exact or near duplicate in another part or in a corpus.
    Audit(AuditArgs),
    /// Part a file into training, validation and test so that no text of one is near one of another.
    Split(SplitArgs),
    /// Show classes, lengths and repeats of a file.
    Inspect(InspectArgs),
}

/// `train data audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Labelled rows trained on.
    #[arg(long)]
    pub train: Option<PathBuf>,
    /// Labelled rows tuned on.
    #[arg(long)]
    pub validation: Option<PathBuf>,
    /// Labelled rows measured on.
    #[arg(long)]
    pub test: Option<PathBuf>,
    /// Text pre-trained on: files, folders or globs; may be given again.
    #[arg(long)]
    pub corpus: Vec<String>,
    /// What ends a document of the corpus: line, blank_line or file.
    #[arg(long, default_value = "line")]
    pub document: String,
    /// Exit 3 when test or validation rows are found elsewhere.
    #[arg(long)]
    pub deny: bool,
    /// How the files are read.
    #[command(flatten)]
    pub columns: ColumnArgs,
}

/// `train data split`.
#[derive(Debug, Args)]
pub struct SplitArgs {
    /// Labelled rows.
    pub file: PathBuf,
    /// Folder for the parts and split.json.
    #[arg(short, long)]
    pub output: PathBuf,
    /// Share of validation rows.
    #[arg(long, default_value_t = 0.1)]
    pub validation_fraction: f64,
    /// Share of test rows.
    #[arg(long, default_value_t = 0.2)]
    pub test_fraction: f64,
    /// Which split.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Replace the split that is there.
    #[arg(long)]
    pub overwrite: bool,
    /// How the files are read.
    #[command(flatten)]
    pub columns: ColumnArgs,
}

/// `train data inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Labelled rows.
    pub file: PathBuf,
    /// tokenizer.json, run directory or Hugging Face folder, for lengths in tokens.
    #[arg(long)]
    pub tokenizer: Option<PathBuf>,
    /// Tokens that texts would be cut to.
    #[arg(long, default_value_t = 128)]
    pub seq_len: usize,
    /// How the files are read.
    #[command(flatten)]
    pub columns: ColumnArgs,
}

/// `train tokenizer`.
#[derive(Debug, Subcommand)]
pub enum TokenizerCommand {
    /// Train a byte-level BPE on text.
    Train(TokenizerTrainArgs),
    /// Show how a tokenizer cuts a text and how well it compresses it.
    Inspect(TokenizerInspectArgs),
}

/// `train tokenizer train`.
#[derive(Debug, Args)]
pub struct TokenizerTrainArgs {
    /// Files, folders or globs.
    #[arg(required = true)]
    pub data: Vec<String>,
    /// Where tokenizer.json goes.
    #[arg(short, long)]
    pub output: PathBuf,
    /// Tokens, the bytes and special ones included.
    #[arg(long, default_value_t = 4096)]
    pub vocab_size: usize,
    /// Pairs seen less often are not merged.
    #[arg(long, default_value_t = 2)]
    pub min_frequency: u64,
    /// Keep every digit a token of its own.
    #[arg(long)]
    pub single_digits: bool,
    /// Replace the file that is there.
    #[arg(long)]
    pub overwrite: bool,
}

/// `train tokenizer inspect`.
#[derive(Debug, Args)]
pub struct TokenizerInspectArgs {
    /// tokenizer.json, run directory, Hugging Face folder, GGUF file or hf://OWNER/NAME.
    pub path: PathBuf,
    /// Another one to compare with, given in the same way.
    #[arg(long)]
    pub against: Option<PathBuf>,
    /// Text to cut.
    #[arg(long, conflicts_with = "data")]
    pub text: Option<String>,
    /// File to cut.
    #[arg(long)]
    pub data: Option<PathBuf>,
}

/// `train config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the JSON Schema of a config.
    Schema {
        /// pretrain, finetune or compare.
        phase: Phase,
    },
    /// Read a config as the command would and print it with every key.
    Check {
        /// pretrain, finetune or compare.
        phase: Phase,
        /// TOML file.
        #[arg(short, long)]
        config: PathBuf,
        /// Change one key first; may be given again.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        sets: Vec<String>,
    },
}

/// Which command a config is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Phase {
    /// `train pretrain`.
    Pretrain,
    /// `train finetune`.
    Finetune,
    /// `train compare`.
    Compare,
}
