//! `train evaluate`: a finished run on other data: all scores on labelled rows, or the loss on raw text.

use std::path::Path;

use serde_json::json;

use super::gates;
use super::print::{print, print_json};
use crate::cli::EvaluateArgs;
use crate::data::LabelledConfig;
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
        Model::Language(model) => {
            if let Some(gate) = args.fail_under.first() {
                let why = "a language model has no such score";
                return Err(Error::usage(format!("--fail-under {gate}: {why}")));
            }
            return language(&model, &data, json);
        }
    };
    let stored = classifier.data();
    let columns = LabelledConfig {
        text_column: args.text_column.clone().unwrap_or_else(|| stored.text_column.clone()),
        label_column: args.label_column.clone().unwrap_or_else(|| stored.label_column.clone()),
        ..stored.clone()
    };
    let Evaluation { scores, verdict } = classifier.evaluate(&data, &columns)?;
    if json {
        print_json(&json!({
            "phase": "evaluate",
            "init_from": path,
            "data": data,
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

fn language(model: &LanguageModel, data: &Path, json: bool) -> Result<()> {
    let scores = model.evaluate(data)?;
    if json {
        return print_json(&json!({
            "phase": "evaluate",
            "data": data,
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
