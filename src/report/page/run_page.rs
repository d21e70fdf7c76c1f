//! The page of one pre-training or fine-tuning.

use std::path::Path;

use maud::{Markup, html};
use serde_json::Value;

use super::curves::{confusion, events, logged, losses, precision_recall, reliability, roc, thresholds};
use super::overlaps::overlaps;
use super::{page, section, table, text, verdict};
use crate::error::Result;
use crate::metrics::Scores;
use crate::results::Predictions;
use crate::results::{FinetuneResults, Mistake, PretrainResults};
use crate::run_dir::{Manifest, read_json};

/// Share of texts cut from which the page says so.
const MUCH_CUT: f64 = 0.01;
/// Colours of plots; more curves than these cannot be told apart.
const COLOURS: usize = 8;

/// The page of a pre-training: figures, curves, what it writes.
pub fn pretraining(path: &Path, results: &PretrainResults) -> Result<Markup> {
    let (events, v) = (events(path), &results.validation);
    let passes = results.tokens as f64 / results.train_tokens.max(1) as f64;
    let mut figures = vec![
        ("validation loss", format!("{:.4} nats per token", v.val_loss)),
        ("bits per byte", format!("{:.3}", v.val_bits_per_byte)),
        ("perplexity", format!("{:.2}", v.val_perplexity)),
        ("tokens", format!("{} ({passes:.1} passes over the text)", results.tokens)),
        ("parameters", results.parameters.to_string()),
        ("steps", format!("{}, weights of step {} kept", results.steps, results.best_step)),
        ("speed", format!("{:.0} tokens/s", results.tokens_per_sec)),
        ("time", format!("{:.1} s", results.wall_secs)),
    ];
    figures.extend(results.bleu.map(|bleu| ("BLEU of continuations", format!("{bleu:.2}"))));
    let rows: Vec<(bool, Vec<Markup>)> =
        figures.into_iter().map(|(name, value)| (false, vec![text(name), text(value)])).collect();
    let samples = std::fs::read_to_string(path.join("samples.jsonl")).unwrap_or_default();
    let samples: Vec<(String, String)> = samples
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|sample| {
            Some((sample["prompt"].as_str()?.into(), sample["continuation"].as_str()?.into()))
        })
        .collect();
    let body = html! {
        section id="verdict" class="verdict" {
            strong { (format!("{:.3} bits per byte on held-out text", v.val_bits_per_byte)) }
            ul {
                li { (course(&events)) }
                li { "Loss says that the language is learnt. Whether that helps a task, only the task's scores can say." }
            }
        }
        div class="plots" id="first" {
            (losses(&events, results.best_step, "nats per token").draw())
            (logged(&events, "learning_rate", "Learning rate", 2).draw())
            (logged(&events, "grad_norm", "Gradient norm before clipping", 4).draw())
        }
        (section("figures", "Figures", &table("Figures", &["figure", "value"], &rows)))
        (section("samples", "What it writes", &html! { @for (prompt, continuation) in &samples { pre { strong { (prompt) } (continuation) } } }))
        (facts(path))
    };
    Ok(page("Pre-training", &about(path), &body))
}

/// How the validation loss went.
fn course(events: &[Value]) -> String {
    let losses: Vec<f64> = events.iter().filter_map(|event| event["val_loss"].as_f64()).collect();
    let lowest = losses.iter().copied().fold(f64::INFINITY, f64::min);
    match (losses.first(), losses.last()) {
        (Some(first), Some(last)) if losses.len() > 1 => {
            let end = if *last > lowest * 1.02 { "then rose to" } else { "and ended at" };
            format!(
                "Validation loss went from {first:.3} down to {lowest:.3} {end} {last:.3} nats per token."
            )
        }
        _ => "Validation loss was measured once, at the end.".into(),
    }
}

/// The page of a fine-tuning: verdict, scores, thresholds, calibration, mistakes, data.
pub fn fine_tuning(path: &Path, results: &FinetuneResults) -> Result<Markup> {
    let events = events(path);
    let test = Predictions::read(&path.join("predictions.jsonl"))?;
    // Runs of older versions kept no answers to validation rows.
    let validation = Predictions::read(&path.join("validation_predictions.jsonl")).ok();
    let positive = test.label(&results.positive);
    let binary = results.scores.test.threshold;
    let runs = curves_of(results, &test);
    let means =
        if binary.is_some() { format!("of {}", results.positive) } else { "as means of the labels".into() };
    let lead = format!(
        "F1 {:.3}, precision {:.3}, recall {:.3} {means} on {} test rows.",
        results.scores.test.f1,
        results.scores.test.precision,
        results.scores.test.recall,
        test.labels.len()
    );
    let body = html! {
        (verdict(&results.verdict, &lead, ""))
        div class="plots" id="first" {
            (confusion_of(&results.scores.test))
            (precision_recall(&runs, binary.is_some().then_some(&results.scores.test)).draw())
            (losses(&events, results.training.best_step, "nats per row").draw())
        }
        (section("scores", "Scores", &scores(results)))
        @if let Some(course) = &results.learning {
            (section("course", "How training went", &html! { p { (course.words()) } }))
        }
        (section("points", "Thresholds", &points(results)))
        section id="more" {
            h2 { "More plots" }
            div class="plots" {
                (roc(&runs).draw())
                @if let (Some(validation), Some(threshold)) = (&validation, binary) {
                    (thresholds(validation, positive, threshold).draw())
                }
                @if let Some(found) = &results.scores.calibration { (reliability(found, &results.positive).draw()) }
                (logged(&events, "learning_rate", "Learning rate", 2).draw())
                (logged(&events, "val_f1", "F1 on validation", 3).draw())
                (logged(&events, "grad_norm", "Gradient norm before clipping", 4).draw())
            }
        }
        (section("mistakes", "Most confident mistakes", &mistakes(path)))
        @if let Some(audit) = &results.leakage.audit { (section("audit", "Overlaps", &overlaps(audit))) }
        (section("data", "Data", &data(results)))
        (facts(path))
    };
    Ok(page(&format!("Fine-tuning from {}", results.init_from), &about(path), &body))
}

/// The curves of the positive label, or with more than two labels those of the commonest ones, each against the rest.
fn curves_of<'a>(
    results: &FinetuneResults,
    test: &'a Predictions,
) -> Vec<(String, usize, &'a Predictions, usize)> {
    if results.scores.test.threshold.is_some() {
        return vec![(format!("test, {}", results.positive), 0, test, test.label(&results.positive))];
    }
    let mut labels: Vec<_> = results.scores.test.per_class.iter().filter(|label| label.support > 0).collect();
    labels.sort_by_key(|label| std::cmp::Reverse(label.support));
    let curve = |(colour, label): (usize, &&crate::metrics::scores::LabelScores)| {
        (label.label.clone(), colour, test, test.label(&label.label))
    };
    labels.iter().take(COLOURS).enumerate().map(curve).collect()
}

fn confusion_of(scores: &Scores) -> Markup {
    let names: Vec<&str> = scores.per_class.iter().map(|class| class.label.as_str()).collect();
    let counts: Vec<Vec<f64>> =
        scores.confusion.iter().map(|row| row.iter().map(|count| *count as f64).collect()).collect();
    confusion("Confusion matrix on test", &names, &counts)
}

fn scores(results: &FinetuneResults) -> Markup {
    let parts: Vec<&Scores> = [&results.scores.validation, &results.scores.test]
        .into_iter()
        .chain(&results.leakage.clean)
        .collect();
    let row = |name: &str, key: &str, value: fn(&Scores) -> Option<f64>| {
        let cell = |scores: &&Scores| {
            let value = value(scores).map_or("-".into(), |value| format!("{value:.3}"));
            let range = scores.ci.get(key).map(|e| format!(" [{:.3}, {:.3}]", e.ci95[0], e.ci95[1]));
            text(value + &range.unwrap_or_default())
        };
        (false, std::iter::once(text(name)).chain(parts.iter().map(cell)).collect())
    };
    let rows = [
        row("F1", "f1", |s| Some(s.f1)),
        row("precision", "precision", |s| Some(s.precision)),
        row("recall", "recall", |s| Some(s.recall)),
        row("accuracy", "accuracy", |s| Some(s.accuracy)),
        row("accuracy of always the commonest label", "", |s| Some(s.majority_accuracy)),
        row("Matthews correlation", "mcc", |s| Some(s.mcc)),
        row("balanced accuracy", "balanced_accuracy", |s| Some(s.balanced_accuracy)),
        row("ROC-AUC", "roc_auc", |s| s.roc_auc),
        row("PR-AUC", "pr_auc", |s| s.pr_auc),
        row("loss, nats per row", "loss", |s| Some(s.loss)),
    ];
    let classes: Vec<(bool, Vec<Markup>)> = results
        .scores
        .per_class
        .iter()
        .map(|class| {
            let figures = [class.precision, class.recall, class.f1].map(|value| text(format!("{value:.3}")));
            (false, [vec![text(&class.label)], figures.to_vec(), vec![text(class.support)]].concat())
        })
        .collect();
    html! {
        (table("Scores", &["score", "validation", "test", "clean test rows"][..=parts.len()], &rows))
        p class="soft" {
            "In brackets: 95 % bootstrap intervals over rows."
            @if results.leakage.clean.is_some() { " Clean are the test rows that stand nowhere else." }
            @if results.scores.test.roc_auc.is_none() { " An area is undefined (-) where a label has no rows." }
        }
        (table("Scores by label", &["label", "precision", "recall", "F1", "test rows"], &classes))
    }
}

fn points(results: &FinetuneResults) -> Markup {
    let row = |point: &crate::metrics::decision::OperatingPoint| {
        let met = if point.met { "" } else { " (not reached on validation)" };
        let used = if point.chosen { " (used)" } else { "" };
        let scores = [point.threshold, point.test.precision, point.test.recall, point.test.f1];
        let counts = [point.test.counts.fp, point.test.counts.r#fn];
        let cells = scores.map(|value| text(format!("{value:.3}")));
        let first = vec![text(format!("{}{used}{met}", point.rule))];
        (point.chosen, [first, cells.to_vec(), counts.map(text).to_vec()].concat())
    };
    let rows: Vec<(bool, Vec<Markup>)> =
        results.scores.operating_points.iter().map(row).map(|(_, cells)| (false, cells)).collect();
    let head =
        ["chosen on validation by", "threshold", "precision", "recall", "F1", "false alarms", "missed"];
    html! {
        (table("Thresholds", &head, &rows))
        @if !rows.is_empty() { p class="soft" { "Scores on test. Each threshold was fixed before test was looked at." } }
    }
}

fn mistakes(path: &Path) -> Markup {
    let rows: Vec<(String, Mistake)> =
        read_mistakes(path).into_iter().map(|mistake| (String::new(), mistake)).collect();
    mistakes_table(None, &rows)
}

/// What the run at `path` kept of its most confident wrong answers.
pub fn read_mistakes(path: &Path) -> Vec<Mistake> {
    let lines = std::fs::read_to_string(path.join("mistakes.jsonl")).unwrap_or_default();
    lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Mistakes with their texts; `first` heads a column of its own before them.
pub fn mistakes_table(first: Option<&str>, mistakes: &[(String, Mistake)]) -> Markup {
    html! {
        @if !mistakes.is_empty() {
            div class="scroll" role="region" aria-label="Mistakes" tabindex="0" {
                table {
                    thead { tr {
                        @if let Some(first) = first { th scope="col" { (first) } }
                        th scope="col" { "true" } th scope="col" { "called" } th scope="col" { "probability of it" }
                        th scope="col" class="text" { "text" } th scope="col" class="text" { "nearest training text" }
                    } }
                    tbody {
                        @for (before, mistake) in mistakes {
                            tr {
                                @if first.is_some() { td { (before) } }
                                td { (mistake.label) } td { (mistake.predicted) } td { (format!("{:.3}", mistake.probability)) }
                                td class="text" { (mistake.text) }
                                td class="text" {
                                    @if let (Some(text), Some(label)) = (&mistake.nearest_text, &mistake.nearest_label) {
                                        (text) " "
                                        span class="soft" { (format!("({label}, similarity {:.2})", mistake.nearest_similarity)) }
                                    } @else { span class="soft" { "none is near" } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Rows, labels and lengths of each part.
pub fn parts(results: &FinetuneResults) -> Markup {
    let row = |part: &crate::results::PartSummary| {
        let labels: Vec<String> = part.labels.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let counts = [part.median_tokens, part.p95_tokens, part.max_tokens, part.truncated].map(text);
        (false, [vec![text(&part.part), text(part.rows), text(labels.join(", "))], counts.to_vec()].concat())
    };
    let rows: Vec<(bool, Vec<Markup>)> = results.parts.iter().map(row).collect();
    let head = ["part", "rows", "by label", "median tokens", "95 % within", "longest", "cut"];
    table("Data", &head, &rows)
}

fn data(results: &FinetuneResults) -> Markup {
    html! {
        (parts(results))
        p class="soft" {
            (format!(
                "Lengths in tokens, after cutting; {:.1} % of all texts are cut to the longest length allowed. {} of {} \
                 parameters trained on {} tokens in {} steps, weights of step {} kept; {:.1} % padding left out, {:.1} s.",
                100.0 * results.training.truncated_share, results.training.trainable_parameters, results.training.parameters, results.training.tokens,
                results.training.steps, results.training.best_step, 100.0 * results.training.padded_share, results.training.wall_secs
            ))
            @if results.training.truncated_share > MUCH_CUT {
                " Much is cut: a larger train.seq_len would let the model read more."
            }
        }
    }
}

/// The line below the title: when, what and where.
pub fn about(path: &Path) -> String {
    let Ok(manifest) = read_json::<Manifest>(path, "run.json") else { return String::new() };
    let commit: String = manifest.git_commit.chars().take(10).collect();
    format!(
        "{}, seed {}, on {}, {} threads, train {} ({commit})",
        path.display(),
        manifest.seed,
        manifest.device,
        manifest.threads,
        manifest.version
    )
}

/// The config, folded away.
pub fn facts(path: &Path) -> Markup {
    let config = std::fs::read_to_string(path.join("config.toml")).unwrap_or_default();
    html! {
        @if !config.is_empty() {
            section id="config" {
                h2 { "Settings" }
                details { summary { "config.toml" } pre { (config) } }
            }
        }
    }
}
