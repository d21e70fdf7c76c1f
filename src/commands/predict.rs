//! `train predict`: texts in, one JSON line each out: label, probability, threshold used.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};

use serde_json::{Map, Value, json};

use super::print::print;
use super::reading;
use crate::cli::PredictArgs;
use crate::data::{LabelledConfig, TextSource, for_each_text};
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;
use crate::runs::{Classifier, Context, Prediction, fetch};

/// Texts answered at once, and read ahead of the answers.
const TEXTS_AT_ONCE: usize = 256;

/// Answers each text from the arguments, a file, or standard input (`-`, one text a line).
///
/// Errors: no text, or a blank one among the arguments (2); as reading the source, after the rows before the bad one
/// were answered.
pub fn run(args: &PredictArgs, progress: &Progress) -> Result<()> {
    let input = args.input.as_ref().map(|input| fetch::local(input, progress)).transpose()?;
    let classifier = Classifier::load_with(&args.run_dir, &Context::on(&args.device, progress))?;
    let answer = |texts: &[String]| -> Result<()> {
        let found = classifier.predict(texts)?;
        print(&texts.iter().zip(&found).map(|(text, found)| line(text, found)).collect::<String>())
    };
    match &args.texts[..] {
        [] if input.is_none() => {
            Err(Error::usage("nothing to predict: give texts, --input FILE, or - for standard input"))
        }
        [only] if only == "-" => {
            answer_all(&read_ahead(None, config(args, None, &classifier)?)?, true, answer)
        }
        [] => answer_all(&read_ahead(input.clone(), config(args, input, &classifier)?)?, false, answer),
        texts => {
            let texts: Vec<String> =
                texts.iter().map(|text| text.trim_start_matches('\u{feff}').into()).collect();
            if let Some(blank) = texts.iter().position(|text| text.trim().is_empty()) {
                return Err(Error::usage(format!("text {} is blank; give some text", blank + 1)));
            }
            answer(&texts)
        }
    }
}

/// How the source is read: as the flags say, else as the run read its rows.
fn config(args: &PredictArgs, input: Option<PathBuf>, classifier: &Classifier) -> Result<LabelledConfig> {
    let stored = classifier.data();
    let asked = reading::format(&args.reading)?;
    let mut config = match input {
        Some(path) => stored.for_file(&path, asked),
        None => stored.for_stream(asked),
    };
    config.lossy |= args.reading.lossy;
    if let Some(column) = &args.text_column {
        config.text_column.clone_from(column);
    }
    Ok(config)
}

/// One JSON line.
fn line(text: &str, found: &Prediction) -> String {
    let Prediction { label, probability, probabilities, threshold, truncated } = found;
    let probabilities: Map<String, Value> =
        probabilities.iter().map(|(label, probability)| (label.clone(), json!(probability))).collect();
    let line = json!({
        "text": text,
        "label": label,
        "probability": probability,
        "probabilities": probabilities,
        "threshold": threshold,
        "truncated": truncated,
    });
    format!("{line}\n")
}

/// Reads texts in a thread of its own, since nobody knows when the next line comes; without a path from standard
/// input. The last item is the error that ended it, if one did.
fn read_ahead(path: Option<PathBuf>, config: LabelledConfig) -> Result<Receiver<Result<String>>> {
    let (sender, receiver) = sync_channel(TEXTS_AT_ONCE);
    let read = move || {
        let source = path.as_deref().map_or(TextSource::StandardInput, TextSource::File);
        let gone = || Error::new(ErrorKind::Failed, "nobody waits for texts any more");
        let found =
            for_each_text(source, &config, |text| sender.send(Ok(text.to_string())).map_err(|_| gone()));
        if let Err(error) = found {
            // A receiver that is gone has an error of its own to report.
            let _ = sender.send(Err(error));
        }
    };
    // It is never joined: an error of the answers must not wait for the next line.
    std::thread::Builder::new().spawn(read).map_err(|cause| {
        Error::new(ErrorKind::Device, format!("cannot start a thread to read texts: {cause}"))
    })?;
    Ok(receiver)
}

/// Answers texts in pieces; with `at_once` those that wait, without waiting for more.
fn answer_all(
    texts: &Receiver<Result<String>>,
    at_once: bool,
    answer: impl Fn(&[String]) -> Result<()>,
) -> Result<()> {
    let mut ended = Ok(());
    while ended.is_ok()
        && let Ok(mut next) = texts.recv()
    {
        let mut waiting = Vec::new();
        loop {
            match next {
                Ok(text) => waiting.push(text),
                Err(error) => ended = Err(error),
            }
            if ended.is_err() || waiting.len() == TEXTS_AT_ONCE {
                break;
            }
            let Some(more) = (if at_once { texts.try_recv().ok() } else { texts.recv().ok() }) else { break };
            next = more;
        }
        answer(&waiting)?;
    }
    ended
}
