//! Tables for the terminal and for report.md, from the same rows.

use std::fmt::Write;
use std::path::Path;

use comfy_table::presets::{ASCII_MARKDOWN, UTF8_HORIZONTAL_ONLY};
use comfy_table::{CellAlignment, Table};
use serde_json::Value;

use super::compare::Arm;
use super::results::{CompareResults, FinetuneResults, PretrainResults, Summary};
use crate::error::{Error, Result};
use crate::metrics::{Scores, Verdict};
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
    let mut body = scores_table(&[("validation", &results.validation), ("test", &results.test)], style);
    body.push_str(&per_class_table(&results.test, style));
    body.push_str(&confusion_table(&results.test, style));
    let _ = write!(
        body,
        "\n{} training rows, {} of {} parameters trained, {} steps (best at {}), {:.1} % padding, {:.1} % of \
         texts cut, {:.1} s\n",
        results.train_rows,
        results.trainable_parameters,
        results.parameters,
        results.steps,
        results.best_step,
        100.0 * results.padded_share,
        100.0 * results.truncated_share,
        results.wall_secs,
    );
    page(&format!("Fine-tuning from {}", results.init_from), &body, Some(&results.verdict))
}

/// One line per budget and arm, then the verdict.
pub fn compare_report(results: &CompareResults, style: Style) -> String {
    let mut table =
        table(style, &["labels", "model", "F1", "precision", "recall", "PR-AUC", "MCC", "accuracy"]);
    for budget in &results.budgets {
        for arm in Arm::ALL {
            let found = results.arms.get(arm.key()).or_else(|| results.baselines.get(arm.key()));
            let Some(scores) = found.and_then(|by_budget| by_budget.budgets.get(budget)) else { continue };
            let cell = |name: &str| scores.get(name).map_or("-".into(), mean_std);
            let name = arm.key().replace("char_ngram", "char n-grams").replace("pretrained", "pre-trained");
            let figures = ["f1", "precision", "recall", "pr_auc", "mcc", "accuracy"].map(cell);
            table.add_row([vec![budget.clone(), name], figures.to_vec()].concat());
        }
    }
    let seeds = results.seeds.len();
    let note = format!(
        "\nTest scores, mean ± standard deviation over {seeds} seeds; thresholds chosen on validation. {:.0} s\n",
        results.wall_secs
    );
    page("Pre-trained against scratch", &format!("{table}\n{note}"), Some(&results.verdict))
}

fn mean_std(summary: &Summary) -> String {
    format!("{:.3} ±{:.3}", summary.mean, summary.std)
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

fn table(style: Style, header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(if style == Style::Markdown { ASCII_MARKDOWN } else { UTF8_HORIZONTAL_ONLY });
    table.set_header(header.to_vec());
    for (index, column) in table.column_iter_mut().enumerate() {
        let alignment = if index == 0 { CellAlignment::Left } else { CellAlignment::Right };
        column.set_cell_alignment(alignment);
    }
    table
}

fn page(title: &str, body: &str, verdict: Option<&Verdict>) -> String {
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
