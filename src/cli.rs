//! What can be typed. Layer 8; clap structs and nothing else.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

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
    Doctor {
        /// auto, cpu, cuda or cuda:N.
        #[arg(long, default_value = "auto")]
        device: String,
    },
    /// Train a language model on raw text.
    Pretrain {
        /// What every run takes.
        #[command(flatten)]
        run: RunArgs,
    },
    /// Train a classifier on labelled text, from a pre-trained model or from scratch.
    Finetune {
        /// What every run takes.
        #[command(flatten)]
        run: RunArgs,
        /// Run directory, Hugging Face folder or `scratch`; overrides the config.
        #[arg(long)]
        init_from: Option<String>,
        /// Exit 3 when a test score is below this, such as f1=0.8; may be given again.
        #[arg(long, value_name = "SCORE=VALUE")]
        fail_under: Vec<String>,
    },
    /// Pre-trained against from scratch over seeds and label budgets; without a config, the demonstration.
    Compare {
        /// What every run takes.
        #[command(flatten)]
        run: RunArgs,
    },
    /// Score a finished run on another file: labelled rows, or raw text for a language model.
    Evaluate {
        /// Finished run.
        run_dir: PathBuf,
        /// File to score it on.
        #[arg(long)]
        data: PathBuf,
        /// Column with the text, where it differs from the run's.
        #[arg(long)]
        text_column: Option<String>,
        /// Column with the label, where it differs from the run's.
        #[arg(long)]
        label_column: Option<String>,
        /// Exit 3 when a score is below this, such as f1=0.8; may be given again.
        #[arg(long, value_name = "SCORE=VALUE")]
        fail_under: Vec<String>,
        /// auto, cpu, cuda or cuda:N.
        #[arg(long, default_value = "auto")]
        device: String,
    },
    /// Label texts with a fine-tuned run, one JSON line each.
    Predict {
        /// Finished run, Hugging Face folder or hf://OWNER/NAME.
        run_dir: PathBuf,
        /// Texts, or - for standard input with one text a line.
        texts: Vec<String>,
        /// File with texts: .txt one a line, .csv, .tsv or .jsonl by the run's text column.
        #[arg(long, conflicts_with = "texts")]
        input: Option<PathBuf>,
        /// auto, cpu, cuda or cuda:N.
        #[arg(long, default_value = "auto")]
        device: String,
    },
    /// Continue a prompt with a pre-trained run.
    Generate {
        /// Finished run or Hugging Face folder.
        run_dir: PathBuf,
        /// Text to continue.
        #[arg(long, default_value = "")]
        prompt: String,
        /// Logits are divided by it; 0 always takes the likeliest token.
        #[arg(long, default_value_t = 0.8, allow_negative_numbers = true)]
        temperature: f64,
        /// Only this many likeliest tokens; 0 takes all.
        #[arg(long, default_value_t = 50)]
        top_k: usize,
        /// Only the likeliest tokens that together reach this probability.
        #[arg(long, default_value_t = 0.95, allow_negative_numbers = true)]
        top_p: f64,
        /// Seed of the choice.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Most tokens to add.
        #[arg(long, default_value_t = 100)]
        max_new_tokens: usize,
        /// auto, cpu, cuda or cuda:N.
        #[arg(long, default_value = "auto")]
        device: String,
    },
    /// Write the model of a finished run for other programs: a folder that transformers loads, or a GGUF file.
    Export {
        /// Finished run or Hugging Face folder.
        run_dir: PathBuf,
        /// Folder to write, or file whose name ends in .gguf.
        #[arg(long)]
        to: PathBuf,
        /// How a GGUF file stores matrices.
        #[arg(long, value_enum, default_value_t = Quantize::F32)]
        quantize: Quantize,
        /// Replace what is there.
        #[arg(long)]
        overwrite: bool,
    },
    /// Print the tables of finished runs again.
    Report {
        /// Run directories.
        #[arg(required = true)]
        run_dirs: Vec<PathBuf>,
    },
    /// Look into labelled data: overlaps, classes and lengths, a split without overlaps.
    #[command(subcommand)]
    Data(DataCommand),
    /// Train or look into a tokenizer.
    #[command(subcommand)]
    Tokenizer(TokenizerCommand),
    /// Check a config without running it.
    #[command(subcommand)]
    Config(ConfigCommand),
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

/// Names in labelled files.
#[derive(Debug, Args)]
pub struct ColumnArgs {
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
    /// Find rows that stand, exactly or nearly, in another part or in a corpus.
    Audit {
        /// Labelled rows trained on.
        #[arg(long)]
        train: Option<PathBuf>,
        /// Labelled rows tuned on.
        #[arg(long)]
        validation: Option<PathBuf>,
        /// Labelled rows measured on.
        #[arg(long)]
        test: Option<PathBuf>,
        /// Text pre-trained on: files, folders or globs; may be given again.
        #[arg(long)]
        corpus: Vec<String>,
        /// What ends a document of the corpus: line, blank_line or file.
        #[arg(long, default_value = "line")]
        document: String,
        /// Exit 3 when test rows stand elsewhere.
        #[arg(long)]
        deny: bool,
        /// Where a row has its text and its label.
        #[command(flatten)]
        columns: ColumnArgs,
    },
    /// Part a file into training, validation and test so that no text of one is near one of another.
    Split {
        /// Labelled rows.
        file: PathBuf,
        /// Folder for the parts and split.json.
        #[arg(short, long)]
        output: PathBuf,
        /// Share of validation rows.
        #[arg(long, default_value_t = 0.1)]
        validation_fraction: f64,
        /// Share of test rows.
        #[arg(long, default_value_t = 0.2)]
        test_fraction: f64,
        /// Which split.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Replace the split that is there.
        #[arg(long)]
        overwrite: bool,
        /// Where a row has its text and its label.
        #[command(flatten)]
        columns: ColumnArgs,
    },
    /// Show classes, lengths and repeats of a file.
    Inspect {
        /// Labelled rows.
        file: PathBuf,
        /// tokenizer.json, run directory or Hugging Face folder, for lengths in tokens.
        #[arg(long)]
        tokenizer: Option<PathBuf>,
        /// Tokens that texts would be cut to.
        #[arg(long, default_value_t = 128)]
        seq_len: usize,
        /// Where a row has its text and its label.
        #[command(flatten)]
        columns: ColumnArgs,
    },
}

/// `train tokenizer`.
#[derive(Debug, Subcommand)]
pub enum TokenizerCommand {
    /// Train a byte-level BPE on text.
    Train {
        /// Files, folders or globs.
        #[arg(required = true)]
        data: Vec<String>,
        /// Where tokenizer.json goes.
        #[arg(short, long)]
        output: PathBuf,
        /// Tokens, the bytes and special ones included.
        #[arg(long, default_value_t = 4096)]
        vocab_size: usize,
        /// Pairs seen less often are not merged.
        #[arg(long, default_value_t = 2)]
        min_frequency: u64,
        /// Keep every digit a token of its own.
        #[arg(long)]
        single_digits: bool,
        /// Replace the file that is there.
        #[arg(long)]
        overwrite: bool,
    },
    /// Show how a tokenizer cuts a text and how well it compresses it.
    Inspect {
        /// tokenizer.json, run directory, Hugging Face folder or hf://OWNER/NAME.
        path: PathBuf,
        /// Another one to compare with, given in the same way.
        #[arg(long)]
        against: Option<PathBuf>,
        /// Text to cut.
        #[arg(long, conflicts_with = "data")]
        text: Option<String>,
        /// File to cut.
        #[arg(long)]
        data: Option<PathBuf>,
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
