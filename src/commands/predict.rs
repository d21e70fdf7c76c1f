//! `train predict`: texts in, one JSON line each out: label, probability, threshold used.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use crate::data::read_texts;
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;
use crate::runs::classifier::Predictor;
use crate::runs::fetch;

/// Texts read at once from standard input or a file.
const TEXTS_AT_ONCE: usize = 256;

/// Answers each text from the arguments, a file, or standard input (`-`, one text a line).
pub fn run(
    path: &Path,
    texts: &[String],
    input: Option<&PathBuf>,
    device: &str,
    progress: &Progress,
) -> Result<()> {
    let predictor = Predictor::open(&fetch::local(path, progress)?, device, progress)?;
    let answer = |texts: &[String]| -> Result<()> {
        let found = predictor.probabilities(texts, progress)?;
        let lines = texts.iter().zip(&found).map(|(text, probabilities)| predictor.line(text, probabilities));
        super::print(&lines.collect::<String>())
    };
    if let Some(input) = input {
        let texts = read_texts(&fetch::local(input, progress)?, &predictor.config.data)?;
        return texts.chunks(TEXTS_AT_ONCE).try_for_each(answer);
    }
    if texts.len() == 1 && texts[0] == "-" {
        return standard_input(answer);
    }
    if texts.is_empty() {
        return Err(Error::usage("nothing to predict: give texts, --input FILE, or - for standard input"));
    }
    answer(texts)
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
