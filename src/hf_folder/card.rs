//! README.md of a model folder: the model card of the Hub, with the figures of the run filled in.

use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::files;
use crate::model::Pooling;

/// What a run was made from, as its config names it.
pub struct Sources<'a> {
    /// `scratch`, a path or `hf://OWNER/NAME`.
    pub init_from: &'a str,
    /// Paths or `hf://datasets/OWNER/NAME/PATH`.
    pub data: &'a [String],
}

/// Scores of a classifier by their name on the Hub and in results.json.
const SCORES: [(&str, &str); 7] = [
    ("accuracy", "accuracy"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("f1", "f1"),
    ("matthews_correlation", "mcc"),
    ("roc_auc", "roc_auc"),
    ("average_precision", "pr_auc"),
];

/// Writes README.md into the model folder `folder` from the content of results.json.
pub fn write_card(
    folder: &Path,
    name: &str,
    results: &impl Serialize,
    pooling: Pooling,
    sources: &Sources,
) -> Result<()> {
    let results =
        &serde_json::to_value(results).map_err(|cause| Error::data(format!("README.md: {cause}")))?;
    let classifier = results["phase"] == "finetune";
    let figures = if classifier { scores(&results["test"]) } else { language_figures(results) };
    let text = format!(
        "---\n{}---\n\n# {name}\n\n{}\n\n| figure | value |\n|---|---|\n{}\n{}",
        front_matter(name, classifier, &figures, sources),
        if classifier { about_classifier(results) } else { about_language_model(results) },
        figures.iter().map(|(name, value)| format!("| {name} | {value:.4} |\n")).collect::<String>(),
        match (classifier, pooling) {
            (true, Pooling::Mean | Pooling::Concat) => USE_OWN.into(),
            (true, Pooling::Last) => use_classifier(results),
            (false, _) => USE_LANGUAGE_MODEL.into(),
        },
    );
    files::write_atomic(&folder.join("README.md"), text.as_bytes())
}

fn scores(test: &Value) -> Vec<(&'static str, f64)> {
    SCORES.iter().filter_map(|(hub, ours)| Some((*hub, test[*ours].as_f64()?))).collect()
}

fn language_figures(results: &Value) -> Vec<(&'static str, f64)> {
    let named =
        [("loss", "val_loss"), ("perplexity", "val_perplexity"), ("bits_per_byte", "val_bits_per_byte")];
    named.iter().filter_map(|(hub, ours)| Some((*hub, results[*ours].as_f64()?))).collect()
}

/// The YAML block that the Hub reads; JSON strings are YAML strings.
fn front_matter(name: &str, classifier: bool, figures: &[(&str, f64)], sources: &Sources) -> String {
    let task = if classifier { "text-classification" } else { "text-generation" };
    let mut lines = vec!["library_name: transformers".to_string(), format!("pipeline_tag: {task}")];
    if let Some(base) = hub_name(sources.init_from, "hf://") {
        lines.push(format!("base_model: {}", json!(base)));
    }
    let datasets: Vec<String> =
        sources.data.iter().filter_map(|source| hub_name(source, "hf://datasets/")).collect();
    if !datasets.is_empty() {
        lines.push(format!("datasets: {}", json!(datasets)));
    }
    let names: Vec<&str> = figures.iter().map(|(name, _)| *name).collect();
    lines.push(format!("metrics: {}", json!(names)));
    let dataset = match datasets.first() {
        Some(id) => json!({"name": id, "type": id}),
        None => json!({"name": "own data", "type": "own-data"}),
    };
    let metrics: Vec<Value> =
        figures.iter().map(|(name, value)| json!({"type": name, "value": value})).collect();
    let result = json!({"task": {"type": task}, "dataset": dataset, "metrics": metrics});
    lines.push(format!("model-index: {}", json!([{"name": name, "results": [result]}])));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// OWNER/NAME of a source on the Hub, without path and revision.
fn hub_name(source: &str, prefix: &str) -> Option<String> {
    let rest = source.strip_prefix(prefix)?.split('@').next()?;
    let mut parts = rest.split('/');
    Some(format!("{}/{}", parts.next()?, parts.next()?))
}

fn about_classifier(results: &Value) -> String {
    let findings = results["verdict"]["findings"].as_array().cloned().unwrap_or_default();
    let findings: String =
        findings.iter().filter_map(Value::as_str).map(|finding| format!("\n- {finding}")).collect();
    let fit = if results["verdict"]["fit"] == true { "fit for use" } else { "not fit for use" };
    format!(
        "A text classifier, fine-tuned by `train` on {} rows, starting from {}. Scores on the test part; precision, \
         recall and F1 are those of {}.\n\nVerdict: {fit}.{findings}",
        results["train_rows"], results["init_from"], results["positive"]
    )
}

fn about_language_model(results: &Value) -> String {
    format!(
        "A language model of {} parameters, trained by `train` on {} tokens, starting from {}. Figures on held-out \
         text: loss in nats per token.",
        results["parameters"], results["tokens"], results["init_from"]
    )
}

fn use_classifier(results: &Value) -> String {
    let threshold = match results["test"]["threshold"].as_f64() {
        Some(threshold) => format!(
            "The scores above call a text {} from a probability of {threshold:.4} on; `pipeline` takes the likelier \
             label instead.\n",
            results["positive"]
        ),
        None => String::new(),
    };
    format!(
        "```python\nfrom transformers import pipeline\nclassify = pipeline(\"text-classification\", model=FOLDER)\n\
         classify(\"Your parcel is waiting\")\n```\n\n{threshold}"
    )
}

const USE_LANGUAGE_MODEL: &str = "```python\nfrom transformers import pipeline\n\
    write = pipeline(\"text-generation\", model=FOLDER)\nwrite(\"I was going to\")\n```\n";

const USE_OWN: &str = "Ask it by `train predict`: it reads all tokens of a text, while the classifiers of \
    transformers read the last one alone and would give other labels.\n";
