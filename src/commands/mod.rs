//! One file per command: calls the library and prints.
//!
//! Layer 9.

pub mod compare;
pub mod configs;
pub mod data;
pub mod doctor;
pub mod evaluate;
pub mod export;
pub mod finetune;
pub mod generate;
pub mod predict;
pub mod pretrain;
pub mod tokenizer;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;
use crate::report::{self, Document, Style};
use crate::run_dir::read_json;

/// Exit code of the program after an error of this kind. Source: sysexits.h for 65 to 75.
pub fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Failed => 1,
        ErrorKind::Usage => 2,
        ErrorKind::Gate => 3,
        ErrorKind::BadData => 65,
        ErrorKind::MissingInput => 66,
        ErrorKind::Device => 69,
        ErrorKind::Output => 73,
        ErrorKind::Io => 74,
        ErrorKind::TryAgain => 75,
        ErrorKind::Diverged => 76,
        ErrorKind::Interrupted(signal) => 128 + signal as u8,
    }
}

/// Results go to standard output, and only results.
pub fn print(text: &str) -> Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        // Whoever reads has seen enough, as `head` does: no failure.
        Err(cause) if cause.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => {
            written.map_err(|cause| Error::new(ErrorKind::Io, format!("cannot write results: {cause}")))
        }
    }
}

/// Prints the report of a finished run, or its results as one JSON object.
pub fn print_run(
    dir: &Path,
    results: &impl Serialize,
    document: &Document,
    json: bool,
    progress: &Progress,
) -> Result<()> {
    if json {
        return print(&format!("{}\n", serde_json::json!(results)));
    }
    progress.note(format!("run directory: {}", dir.display()));
    print(&document.text(Style::Terminal))
}

/// `train report RUN_DIR...`: tables and report.html again, from what the runs stored.
pub fn report(paths: &[PathBuf], json: bool, progress: &Progress) -> Result<()> {
    paths.iter().try_for_each(|path| {
        let document = report::read(path)?;
        // A run in a folder that cannot be written still has its tables.
        if let Err(cause) = report::write_html(path, &document) {
            progress.warn(format!("no report.html: {cause}"));
        }
        let results: serde_json::Value = read_json(path, "results.json")?;
        print_run(path, &results, &document, json, progress)
    })
}

/// Scores that `--fail-under` may name.
const GATES: [&str; 10] = [
    "accuracy",
    "precision",
    "recall",
    "f1",
    "mcc",
    "balanced_accuracy",
    "roc_auc",
    "pr_auc",
    "macro_f1",
    "weighted_f1",
];

/// Score and least value of `--fail-under NAME=VALUE`; asked before a run, so that a slip costs no training.
///
/// Errors: not of that form, or no such score (2).
fn gate(text: &str) -> Result<(&str, f64)> {
    let parsed = text.split_once('=').and_then(|(name, value)| Some((name, value.parse().ok()?)));
    parsed.filter(|(name, _)| GATES.contains(name)).ok_or_else(|| {
        let known = GATES.join(", ");
        Error::usage(format!(
            "--fail-under {text}: expected SCORE=VALUE, such as f1=0.8, with one of {known}"
        ))
    })
}

/// Errors: a score of `--fail-under` is undefined or below its value (3).
pub fn check_gates(gates: &[String], score: impl Fn(&str) -> Option<f64>) -> Result<()> {
    for text in gates {
        let (name, least) = gate(text)?;
        match score(name) {
            Some(value) if value >= least => {}
            Some(value) => {
                return Err(Error::new(
                    ErrorKind::Gate,
                    format!("gate failed: {name} is {value:.4}, below {least}"),
                ));
            }
            None => {
                return Err(Error::new(ErrorKind::Gate, format!("gate failed: {name} is not defined here")));
            }
        }
    }
    Ok(())
}
