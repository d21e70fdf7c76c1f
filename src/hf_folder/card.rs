//! README.md of a model folder: the model card of the Hub, with the figures of the run filled in.

use std::path::Path;

use serde_json::{Value, json};

use crate::error::Result;
use crate::files;
use crate::metrics::LanguageScores;
use crate::results::{FinetuneResults, PretrainResults};

/// What a run was made from, as its config names it.
pub struct Sources<'a> {
    /// `scratch`, a path or `hf://OWNER/NAME`.
    pub init_from: &'a str,
    /// Paths or `hf://datasets/OWNER/NAME/PATH`.
    pub data: &'a [String],
}

/// Writes README.md of a classifier into its model folder; with how to ask it where that is `by_transformers`.
pub fn write_classifier_card(
    folder: &Path,
    name: &str,
    results: &FinetuneResults,
    by_transformers: bool,
    sources: &Sources,
) -> Result<()> {
    let test = &results.scores.test;
    let mut figures = vec![
        ("accuracy", test.accuracy),
        ("precision", test.precision),
        ("recall", test.recall),
        ("f1", test.f1),
        ("matthews_correlation", test.mcc),
    ];
    figures.extend(test.roc_auc.map(|area| ("roc_auc", area)));
    figures.extend(test.pr_auc.map(|area| ("average_precision", area)));
    let usage = if by_transformers { use_classifier(results) } else { USE_OWN.into() };
    let card = Card { task: "text-classification", about: about_classifier(results), figures, usage };
    card.write(folder, name, sources)
}

/// Writes README.md of a language model into its model folder.
pub fn write_language_card(
    folder: &Path,
    name: &str,
    results: &PretrainResults,
    sources: &Sources,
) -> Result<()> {
    let LanguageScores { val_loss, val_perplexity, val_bits_per_byte } = results.validation;
    let figures =
        vec![("loss", val_loss), ("perplexity", val_perplexity), ("bits_per_byte", val_bits_per_byte)];
    let about = about_language_model(results);
    let card = Card { task: "text-generation", about, figures, usage: USE_LANGUAGE_MODEL.into() };
    card.write(folder, name, sources)
}

/// What differs between the cards of the two kinds of model.
struct Card {
    /// Name of the task on the Hub.
    task: &'static str,
    about: String,
    /// By their names on the Hub.
    figures: Vec<(&'static str, f64)>,
    usage: String,
}

impl Card {
    fn write(&self, folder: &Path, name: &str, sources: &Sources) -> Result<()> {
        let rows: String =
            self.figures.iter().map(|(name, value)| format!("| {name} | {value:.4} |\n")).collect();
        let front_matter = front_matter(name, self.task, &self.figures, sources);
        let (about, usage) = (&self.about, &self.usage);
        let text = format!(
            "---\n{front_matter}---\n\n# {name}\n\n{about}\n\n| figure | value |\n|---|---|\n{rows}\n{usage}"
        );
        files::write_atomic(&folder.join("README.md"), text.as_bytes())
    }
}

/// The YAML block that the Hub reads; JSON strings are YAML strings.
fn front_matter(name: &str, task: &str, figures: &[(&str, f64)], sources: &Sources) -> String {
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

/// Text on one line that Markdown does not take for tags: names of labels are somebody else's.
fn plain(text: &str) -> String {
    text.replace(char::is_control, " ").replace('<', "\\<")
}

fn about_classifier(results: &FinetuneResults) -> String {
    let findings = results.verdict.findings.iter().map(|finding| format!("\n- {}", plain(finding)));
    let findings: String = findings.collect();
    let fit = if results.verdict.fit { "fit for use" } else { "not fit for use" };
    let whose = match results.scores.test.threshold {
        Some(_) => format!("those of {}", plain(&json!(results.positive).to_string())),
        None => "means over the labels".into(),
    };
    format!(
        "A text classifier, fine-tuned by `train` on {} rows, starting from {}. Scores on the test part; precision, \
         recall and F1 are {whose}.\n\nVerdict: {fit}.{findings}",
        results.training.train_rows,
        json!(results.init_from),
    )
}

fn about_language_model(results: &PretrainResults) -> String {
    format!(
        "A language model of {} parameters, trained by `train` on {} tokens, starting from {}. Figures on held-out \
         text: loss in nats per token.",
        results.parameters,
        results.tokens,
        json!(results.init_from)
    )
}

fn use_classifier(results: &FinetuneResults) -> String {
    let threshold = match results.scores.test.threshold {
        Some(threshold) => format!(
            "The scores above call a text {} from a probability of {threshold:.4} on; `pipeline` takes the likelier \
             label instead.\n",
            plain(&json!(results.positive).to_string())
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

const USE_OWN: &str = "Ask it by `train predict`: the classifiers of transformers read other tokens of a text and \
    would give other labels.\n";
