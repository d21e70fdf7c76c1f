//! `--fail-under NAME=VALUE`: a score that is too low fails the command.

use crate::error::{Error, ErrorKind, Result};
use crate::metrics::Scores;

/// Scores that may be named.
const NAMES: [&str; 10] = [
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

/// A score and its least value.
pub struct Gate<'a> {
    name: &'a str,
    least: f64,
}

/// Reads all gates; asked for before a run, so that a slip costs no training.
///
/// Errors: not of that form, or no such score (2).
pub fn parse(texts: &[String]) -> Result<Vec<Gate<'_>>> {
    let gate = |text: &str| {
        let (name, value) = text.split_once('=')?;
        let name = NAMES.into_iter().find(|known| *known == name)?;
        Some(Gate { name, least: value.parse().ok()? })
    };
    let wrong = |text: &str| {
        let known = NAMES.join(", ");
        let expected = format!("expected SCORE=VALUE, such as f1=0.8, with one of {known}");
        Error::usage(format!("--fail-under {text}: {expected}"))
    };
    texts.iter().map(|text| gate(text).ok_or_else(|| wrong(text))).collect()
}

/// Errors: a score is undefined or below its value (3).
pub fn check(gates: &[Gate<'_>], scores: &Scores) -> Result<()> {
    let scores = serde_json::to_value(scores).map_err(Error::data)?;
    for Gate { name, least } in gates {
        let why = match scores[name].as_f64() {
            Some(value) if value >= *least => continue,
            Some(value) => format!("{name} is {value:.4}, below {least}"),
            None => format!("{name} is not defined here"),
        };
        return Err(Error::new(ErrorKind::Gate, format!("gate failed: {why}")));
    }
    Ok(())
}
