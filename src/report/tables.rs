//! Tables for the terminal and for report.md, from the same rows.

use std::fmt::Write;
use std::path::Path;

use comfy_table::presets::{ASCII_MARKDOWN, UTF8_HORIZONTAL_ONLY};
use comfy_table::{CellAlignment, Table};
use serde_json::Value;

use super::compare_tables::compare_report;
use crate::error::{Error, Result};
use crate::metrics::{Scores, Verdict};
use crate::results::{AuditResults, FinetuneResults, InspectResults, LengthSummary, PretrainResults};
use crate::run_dir::read_json;

/// Where a table is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A terminal.
    Terminal,
    /// report.md.
    Markdown,
}

/// The report of the finished run at `path`, whatever its command was.
///
/// Errors: no results there (66), results of an unknown phase (65).
pub fn report(path: &Path, style: Style) -> Result<String> {
    let results: Value = read_json(path, "results.json")?;
    match results["phase"].as_str() {
        Some("pretrain") => Ok(pretrain_report(&read_json(path, "results.json")?, style)),
        Some("finetune") => Ok(finetune_report(&read_json(path, "results.json")?, style)),
        Some("compare") => Ok(compare_report(&read_json(path, "results.json")?, style)),
        other => {
            Err(Error::data(format!("{}: unknown phase {other:?}", path.join("results.json").display())))
        }
    }
}

/// The figures of a pre-training.
pub fn pretrain_report(results: &PretrainResults, style: Style) -> String {
    let v = &results.validation;
    let mut rows = vec![
        ("validation loss", format!("{:.4} nats per token", v.val_loss)),
        ("perplexity", format!("{:.2}", v.val_perplexity)),
        ("bits per byte", format!("{:.3}", v.val_bits_per_byte)),
        (
            "training loss",
            results.train_loss.map_or("none".into(), |loss| format!("{loss:.4} nats per token")),
        ),
    ];
    if let Some(bleu) = results.bleu {
        rows.push(("BLEU of continuations", format!("{bleu:.2}")));
    }
    let passes = results.tokens as f64 / results.train_tokens.max(1) as f64;
    rows.extend([
        ("steps", format!("{}, best at {}", results.steps, results.best_step)),
        ("tokens", format!("{} ({passes:.1} passes)", results.tokens)),
        ("bytes per token", format!("{:.2}", results.bytes_per_token)),
        ("parameters", results.parameters.to_string()),
        ("speed", format!("{:.0} tokens/s, {:.0} % of peak", results.tokens_per_sec, 100.0 * results.mfu)),
        ("peak memory", format!("{} MiB", results.peak_memory_bytes >> 20)),
        ("time", format!("{:.1} s", results.wall_secs)),
    ]);
    page("Pre-training", &key_values(&rows, style), None)
}

/// Scores, confusion matrix and verdict of a fine-tuning.
pub fn finetune_report(results: &FinetuneResults, style: Style) -> String {
    let mut parts = vec![("validation", &results.scores.validation), ("test", &results.scores.test)];
    parts.extend(results.leakage.clean.as_ref().map(|clean| ("clean test rows", clean)));
    let mut body = scores_table(&parts, style);
    body.push_str(&per_class_table(&results.scores.test, style));
    body.push_str(&confusion_table(&results.scores.test, style));
    body.push_str(&operating_table(results, style));
    body.push_str(&calibration_line(results));
    if let Some(course) = &results.learning {
        let _ = writeln!(body, "\n{}", course.words());
    }
    body.push_str(&parts_table(results, style));
    let _ = write!(
        body,
        "\n{} training rows, {} of {} parameters trained, {} steps (best at {}), {:.1} % padding left out, {:.1} % of \
         texts cut, {:.1} s\n",
        results.training.train_rows,
        results.training.trainable_parameters,
        results.training.parameters,
        results.training.steps,
        results.training.best_step,
        100.0 * results.training.padded_share,
        100.0 * results.training.truncated_share,
        results.training.wall_secs,
    );
    if let Some(audit) = &results.leakage.audit {
        let _ = write!(body, "\n## Overlaps\n\n{}", audit_table(audit, style));
    }
    page(&format!("Fine-tuning from {}", results.init_from), &body, Some(&results.verdict))
}

/// What each rule for the threshold gives on test.
fn operating_table(results: &FinetuneResults, style: Style) -> String {
    let head = ["threshold by", "threshold", "precision", "recall", "F1", "false alarms", "missed"];
    let mut table = table(style, &head);
    for point in &results.scores.operating_points {
        let mark = match (point.chosen, point.met) {
            (true, true) => " (used)",
            (true, false) => " (used; not reached on validation)",
            (false, false) => " (not reached on validation)",
            (false, true) => "",
        };
        let scores = [point.threshold, point.test.precision, point.test.recall, point.test.f1];
        let counts = [point.test.counts.fp, point.test.counts.r#fn].map(|count| count.to_string());
        let scores = scores.map(|value| format!("{value:.3}"));
        table.add_row([vec![format!("{}{mark}", point.rule)], scores.to_vec(), counts.to_vec()].concat());
    }
    if results.scores.operating_points.is_empty() { String::new() } else { format!("\n{table}\n") }
}

fn calibration_line(results: &FinetuneResults) -> String {
    let Some(found) = &results.scores.calibration else { return String::new() };
    format!(
        "\nCalibration error {:.3} (loss {:.3}); with temperature {:.2}, fitted on validation, {:.3} (loss {:.3})\n",
        found.ece, found.loss, found.temperature, found.ece_tempered, found.loss_tempered
    )
}

fn parts_table(results: &FinetuneResults, style: Style) -> String {
    let head = ["part", "rows", "by label", "median tokens", "95 % within", "longest", "cut"];
    let mut table = table(style, &head);
    for part in &results.parts {
        let labels: Vec<String> = part.labels.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let counts = [part.median_tokens, part.p95_tokens, part.max_tokens, part.truncated];
        let counts = counts.map(|count| count.to_string());
        let first = vec![part.part.clone(), part.rows.to_string(), labels.join(", ")];
        table.add_row([first, counts.to_vec()].concat());
    }
    if results.parts.is_empty() { String::new() } else { format!("\n{table}\n") }
}

/// Which rows stand where, with examples of what is not plainly equal.
pub fn audit_table(audit: &AuditResults, style: Style) -> String {
    let mut table = table(style, &["rows of", "found in", "exact", "case, space", "digits", "near", "all"]);
    for overlap in &audit.overlaps {
        let with = if overlap.with == overlap.part { "itself, earlier" } else { &overlap.with };
        let counts = [overlap.exact, overlap.normalised, overlap.masked, overlap.near, overlap.total()];
        let counts = counts.map(|count| count.to_string());
        table.add_row([vec![overlap.part.clone(), with.into()], counts.to_vec()].concat());
    }
    let rows: Vec<String> = audit.rows.iter().map(|(part, rows)| format!("{part} {rows}")).collect();
    let mut text = format!("{table}\nRows: {}; near from Jaccard {}\n", rows.join(", "), audit.threshold);
    let between = audit.overlaps.iter().filter(|overlap| overlap.part != overlap.with);
    for (overlap, example) in between.flat_map(|o| o.examples.iter().take(2).map(move |e| (o, e))) {
        let shown = |text: &str| text.chars().take(100).collect::<String>().replace(['\n', '|', '`'], " ");
        let _ = writeln!(
            text,
            "- {} row {} ({}, {:.2}): `{}` in {}: `{}`",
            overlap.part,
            example.row,
            example.kind,
            example.jaccard,
            shown(&example.text),
            overlap.with,
            shown(&example.other)
        );
    }
    text
}

/// Classes, lengths and repeats as `train data inspect` found them.
pub fn inspect_tables(found: &InspectResults, style: Style) -> String {
    let number = |count: Option<usize>| count.map_or("-".into(), |count| count.to_string());
    let lengths = |of: &LengthSummary| [of.median, of.p95, of.max].map(number).join(" / ");
    let head = ["label", "rows", "share", "characters: median / 95 % / longest", "words: the same"];
    let mut table = table(style, &head);
    for class in &found.classes {
        let share = format!("{:.1} %", 100.0 * class.share);
        let (characters, words) = (lengths(&class.characters), lengths(&class.words));
        table.add_row([class.label.clone(), class.rows.to_string(), share, characters, words]);
    }
    let repeats = &found.repeats;
    let mut text = format!(
        "{table}\n{} rows; repeats of earlier rows: {} exact, {} but for case and space, {} but for digits, {} near\n",
        found.rows, repeats.exact, repeats.normalised, repeats.masked, repeats.near
    );
    for (count, what) in [
        (found.with_html_entities, "hold HTML entities such as &lt;, which may give a label away"),
        (found.with_replacement_characters, "hold U+FFFD: an earlier conversion lost characters"),
        (found.with_control_characters, "hold control characters"),
    ] {
        if count > 0 {
            let _ = writeln!(text, "{count} rows {what}");
        }
    }
    if let Some(tokens) = &found.tokens {
        let (cut, seq_len, lengths) = (tokens.truncated, tokens.seq_len, lengths(&tokens.lengths));
        let _ = writeln!(text, "tokens: median / 95 % / longest {lengths}; {cut} rows are cut at {seq_len}");
    }
    text
}

/// Scores of several parts side by side, the majority class beside accuracy.
pub fn scores_table(parts: &[(&str, &Scores)], style: Style) -> String {
    let mut table = table(style, &[""]);
    table.set_header([vec![""], parts.iter().map(|(name, _)| *name).collect()].concat());
    type Figure = fn(&Scores) -> String;
    let rows: [(&str, Figure); 11] = [
        ("loss", |s| format!("{:.3}", s.loss)),
        ("accuracy", |s| with_interval(s, "accuracy", s.accuracy)),
        ("accuracy of always the commonest label", |s| format!("{:.3}", s.majority_accuracy)),
        ("precision", |s| with_interval(s, "precision", s.precision)),
        ("recall", |s| with_interval(s, "recall", s.recall)),
        ("F1", |s| with_interval(s, "f1", s.f1)),
        ("MCC", |s| with_interval(s, "mcc", s.mcc)),
        ("balanced accuracy", |s| with_interval(s, "balanced_accuracy", s.balanced_accuracy)),
        ("ROC-AUC", |s| s.roc_auc.map_or("-".into(), |v| with_interval(s, "roc_auc", v))),
        ("PR-AUC", |s| s.pr_auc.map_or("-".into(), |v| with_interval(s, "pr_auc", v))),
        ("threshold", |s| s.threshold.map_or("-".into(), |v| format!("{v:.3}"))),
    ];
    for (name, figure) in rows {
        let cells = parts.iter().map(|(_, scores)| figure(scores));
        table.add_row(std::iter::once(name.to_string()).chain(cells).collect::<Vec<_>>());
    }
    format!("{table}\n")
}

fn with_interval(scores: &Scores, name: &str, value: f64) -> String {
    match scores.ci.get(name) {
        Some(estimate) => format!("{value:.3} [{:.3}, {:.3}]", estimate.ci95[0], estimate.ci95[1]),
        None => format!("{value:.3}"),
    }
}

fn per_class_table(scores: &Scores, style: Style) -> String {
    let mut table = table(style, &["label", "precision", "recall", "F1", "rows"]);
    for class in &scores.per_class {
        let figures = [class.precision, class.recall, class.f1].map(|value| format!("{value:.3}"));
        table
            .add_row([vec![class.label.clone()], figures.to_vec(), vec![class.support.to_string()]].concat());
    }
    format!("\n{table}\n")
}

fn confusion_table(scores: &Scores, style: Style) -> String {
    let names: Vec<String> = scores.per_class.iter().map(|class| class.label.clone()).collect();
    let mut table = table(style, &[""]);
    table.set_header([vec!["true \\ called".to_string()], names.clone()].concat());
    for (name, row) in names.iter().zip(&scores.confusion) {
        table.add_row([vec![name.clone()], row.iter().map(u64::to_string).collect()].concat());
    }
    format!("\n{table}\n")
}

fn key_values(rows: &[(&str, String)], style: Style) -> String {
    let mut table = table(style, &["figure", "value"]);
    for (name, value) in rows {
        table.add_row([*name, value.as_str()]);
    }
    format!("{table}\n")
}

pub(super) fn table(style: Style, header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(if style == Style::Markdown { ASCII_MARKDOWN } else { UTF8_HORIZONTAL_ONLY });
    table.set_header(header.to_vec());
    for (index, column) in table.column_iter_mut().enumerate() {
        let alignment = if index == 0 { CellAlignment::Left } else { CellAlignment::Right };
        column.set_cell_alignment(alignment);
    }
    table
}

pub(super) fn page(title: &str, body: &str, verdict: Option<&Verdict>) -> String {
    let mut page = format!("# {title}\n\n");
    if let Some(verdict) = verdict {
        let _ = writeln!(page, "Verdict: {}", if verdict.fit { "fit for use" } else { "not fit for use" });
        for finding in &verdict.findings {
            let _ = writeln!(page, "- {finding}");
        }
        page.push('\n');
    }
    page.push_str(body);
    page
}
