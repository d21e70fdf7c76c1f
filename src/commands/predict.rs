//! `train predict`: texts in, one JSON line each out: label, probability, threshold used.

use std::io::{BufRead, Write};

use serde_json::{Map, Value, json};

use super::print::print;
use crate::cli::PredictArgs;
use crate::data::read_texts;
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;
use crate::runs::{Classifier, Context, Prediction, fetch};

/// Texts read at once from standard input or a file.
const TEXTS_AT_ONCE: usize = 256;

/// Answers each text from the arguments, a file, or standard input (`-`, one text a line).
pub fn run(args: &PredictArgs, progress: &Progress) -> Result<()> {
    let classifier = Classifier::load_with(&args.run_dir, &Context::on(&args.device, progress))?;
    let answer = |texts: &[String]| -> Result<()> {
        let found = classifier.predict(texts)?;
        print(&texts.iter().zip(&found).map(|(text, found)| line(text, found)).collect::<String>())
    };
    if let Some(input) = &args.input {
        let texts = read_texts(&fetch::local(input, progress)?, classifier.data())?;
        return texts.chunks(TEXTS_AT_ONCE).try_for_each(answer);
    }
    match &args.texts[..] {
        [] => Err(Error::usage("nothing to predict: give texts, --input FILE, or - for standard input")),
        [only] if only == "-" => standard_input(answer),
        texts => answer(texts),
    }
}

/// One JSON line.
fn line(text: &str, found: &Prediction) -> String {
    let Prediction { label, probability, probabilities, threshold } = found;
    let probabilities: Map<String, Value> =
        probabilities.iter().map(|(label, probability)| (label.clone(), json!(probability))).collect();
    let line = json!({
        "text": text,
        "label": label,
        "probability": probability,
        "probabilities": probabilities,
        "threshold": threshold,
    });
    format!("{line}\n")
}

/// Line by line, answered as soon as no further line is waiting.
fn standard_input(answer: impl Fn(&[String]) -> Result<()>) -> Result<()> {
    let mut input = std::io::stdin().lock();
    let mut waiting = Vec::new();
    let mut number = 0;
    loop {
        let mut line = Vec::new();
        let failed = |cause| Error::new(ErrorKind::Io, format!("cannot read standard input: {cause}"));
        if input.read_until(b'\n', &mut line).map_err(failed)? == 0 {
            break;
        }
        number += 1;
        let line = String::from_utf8(line).map_err(|_| {
            Error::data(format!("standard input:{number}: not UTF-8 text; convert it first (iconv -t UTF-8)"))
        })?;
        let text = line.trim_end_matches(['\n', '\r']);
        if text.is_empty() {
            continue;
        }
        waiting.push(text.to_string());
        let more_is_here = input.fill_buf().is_ok_and(|rest| rest.contains(&b'\n'));
        if waiting.len() >= TEXTS_AT_ONCE || !more_is_here {
            answer(&waiting)?;
            waiting.clear();
        }
    }
    std::io::stdout()
        .flush()
        .map_err(|cause| Error::new(ErrorKind::Io, format!("cannot write results: {cause}")))?;
    if waiting.is_empty() { Ok(()) } else { answer(&waiting) }
}
