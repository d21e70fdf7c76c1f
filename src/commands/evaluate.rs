//! `train evaluate`: a finished run on other data: all scores on labelled rows, or the loss on raw text.

use std::path::Path;

use serde_json::json;

use super::gates;
use super::print::{print, print_json};
use super::reading;
use crate::cli::EvaluateArgs;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::report::{self, Style};
use crate::runs::{Context, Evaluation, LanguageModel, Model, fetch};

/// Evaluates a run; what kind of run it is decides what is measured.
pub fn run(args: &EvaluateArgs, json: bool, progress: &Progress) -> Result<()> {
    let gates = gates::parse(&args.fail_under)?;
    let (path, data) = (fetch::local(&args.run_dir, progress)?, fetch::local(&args.data, progress)?);
    let context = Context::on(&args.device, progress);
    let classifier = match Model::load_with(&path, &context)? {
        Model::Classifier(classifier) => classifier,
        Model::Language(model) => return language(&model, args, &data, json),
    };
    let mut columns = classifier.data().for_file(&data, reading::format(&args.reading)?);
    columns.lossy |= args.reading.lossy;
    columns.text_column = args.text_column.clone().unwrap_or(columns.text_column);
    columns.label_column = args.label_column.clone().unwrap_or(columns.label_column);
    columns.check_columns()?;
    let Evaluation { scores, verdict } = classifier.evaluate(&data, &columns)?;
    if json {
        print_json(&json!({
            "phase": "evaluate",
            "init_from": path.display().to_string(),
            "data": data.display().to_string(),
            "validation": classifier.validation(),
            "test": scores,
            "per_class": scores.per_class,
            "verdict": verdict,
        }))?;
    } else {
        print(&report::evaluated(&scores, &verdict).text(Style::Terminal))?;
    }
    gates::check(&gates, &scores)
}

/// The loss of a language model.
///
/// Errors: flags that are for labelled rows (2); as reading the text.
fn language(model: &LanguageModel, args: &EvaluateArgs, path: &Path, json: bool) -> Result<()> {
    if let Some(gate) = args.fail_under.first() {
        return Err(Error::usage(format!("--fail-under {gate}: a language model has no such score")));
    }
    if let Some(column) = &args.label_column {
        return Err(Error::usage(format!("--label-column {column}: a language model reads no labels")));
    }
    let mut data = model.data()?.for_file(path, reading::format(&args.reading)?);
    data.lossy |= args.reading.lossy;
    data.text_column = args.text_column.clone().unwrap_or(data.text_column);
    let scores = model.evaluate(path, &data)?;
    if json {
        return print_json(&json!({
            "phase": "evaluate",
            "data": path.display().to_string(),
            "val_loss": scores.val_loss,
            "val_perplexity": scores.val_perplexity,
            "val_bits_per_byte": scores.val_bits_per_byte,
        }));
    }
    print(&format!(
        "loss {:.4} nats per token, perplexity {:.2}, {:.3} bits per byte\n",
        scores.val_loss, scores.val_perplexity, scores.val_bits_per_byte
    ))
}
