//! The tables of one run.

use super::table::{Cell, Table, score, score_or_dash};
use crate::metrics::Scores;
use crate::metrics::decision::OperatingPoint;
use crate::results::{
    AuditResults, InspectResults, LengthSummary, Mistake, Overlap, PartSummary, PretrainResults,
};

/// Characters shown of a text in a table.
const SHOWN: usize = 400;

/// The figures of a pre-training.
pub fn pretraining(results: &PretrainResults) -> Table {
    let mut table = Table::new("Figures", 2, &["figure", "value"]);
    let mut row = |name: &str, value: String| table.row([name.to_string(), value]);
    let (v, passes) = (&results.validation, results.tokens as f64 / results.train_tokens.max(1) as f64);
    row("validation loss", format!("{:.4} nats per token", v.val_loss));
    row("perplexity", format!("{:.2}", v.val_perplexity));
    row("bits per byte", score(v.val_bits_per_byte));
    row(
        "training loss",
        results.train_loss.map_or("none".into(), |loss| format!("{loss:.4} nats per token")),
    );
    if let Some(bleu) = results.bleu {
        row("BLEU of continuations", format!("{bleu:.2}"));
    }
    row("steps", format!("{}, best at {}", results.steps, results.best_step));
    row("tokens", format!("{} ({passes:.1} passes over the text)", results.tokens));
    row("bytes per token", format!("{:.2}", results.bytes_per_token));
    row("parameters", results.parameters.to_string());
    row("speed", format!("{:.0} tokens/s", results.tokens_per_sec));
    row("share of this machine's matrix-product rate", format!("{:.0} %", 100.0 * results.mfu));
    row("peak memory", format!("{} MiB", results.peak_memory_bytes >> 20));
    row("time", format!("{:.1} s", results.wall_secs));
    table
}

/// Scores of several parts side by side, the majority class beside accuracy.
pub fn scores(parts: &[(&str, &Scores)]) -> Table {
    let columns: Vec<&str> = ["score"].into_iter().chain(parts.iter().map(|(name, _)| *name)).collect();
    let mut table = Table::new("Scores", 1, &columns);
    type Value = fn(&Scores) -> Option<f64>;
    let rows: [(&str, &str, Value); 11] = [
        ("F1", "f1", |s| Some(s.f1)),
        ("precision", "precision", |s| Some(s.precision)),
        ("recall", "recall", |s| Some(s.recall)),
        ("accuracy", "accuracy", |s| Some(s.accuracy)),
        ("accuracy of the majority class", "", |s| Some(s.majority_accuracy)),
        ("Matthews correlation", "mcc", |s| Some(s.mcc)),
        ("balanced accuracy", "balanced_accuracy", |s| Some(s.balanced_accuracy)),
        ("ROC-AUC", "roc_auc", |s| s.roc_auc),
        ("PR-AUC", "pr_auc", |s| s.pr_auc),
        ("loss, nats per row", "loss", |s| Some(s.loss)),
        ("threshold", "", |s| s.threshold),
    ];
    for (name, key, value) in rows {
        let cell = |(_, scores): &(&str, &Scores)| {
            let range = scores.ci.get(key).map(|e| format!(" [{:.3}, {:.3}]", e.ci95[0], e.ci95[1]));
            score_or_dash(value(scores)) + &range.unwrap_or_default()
        };
        table.row([name.to_string()].into_iter().chain(parts.iter().map(cell)));
    }
    let mut note = "In brackets: 95 % bootstrap intervals over rows.".to_string();
    if parts.iter().any(|(_, scores)| scores.roc_auc.is_none()) {
        note += " An area is undefined (-) where a label has no rows.";
    }
    table.note(note)
}

/// Precision, recall and F1 of each label.
pub fn labels(scores: &Scores) -> Table {
    let mut table = Table::new("Scores by label", 1, &["label", "precision", "recall", "F1", "test rows"]);
    for (label, of) in scores.per_class.iter().enumerate() {
        let is_predicted = scores.confusion.iter().any(|row| row[label] > 0);
        let (precision, recall) =
            (is_predicted.then_some(of.precision), (of.support > 0).then_some(of.recall));
        let f1 = (is_predicted || of.support > 0).then_some(of.f1);
        let support = if of.support > 0 { of.support.to_string() } else { "no rows".into() };
        let [precision, recall, f1] = [precision, recall, f1].map(score_or_dash);
        table.row([of.label.clone(), precision, recall, f1, support]);
    }
    table
}

/// Rows by true and predicted label.
pub fn confusion(scores: &Scores) -> Table {
    let names = scores.per_class.iter().map(|class| class.label.as_str());
    let columns: Vec<&str> = ["true \\ predicted"].into_iter().chain(names.clone()).collect();
    let mut table = Table::new("Confusion matrix", 1, &columns);
    for (name, row) in names.zip(&scores.confusion) {
        table.row([name.to_string()].into_iter().chain(row.iter().map(u64::to_string)));
    }
    table
}

/// What each rule for the threshold gives on test.
pub fn operating(points: &[OperatingPoint]) -> Table {
    let columns = ["threshold chosen by", "threshold", "precision", "recall", "F1", "false alarms", "missed"];
    let mut table = Table::new("Thresholds", 1, &columns);
    for point in points {
        let met = if point.met { "" } else { " (not reached on validation)" };
        let used = if point.chosen { " (used)" } else { "" };
        let scores = [point.threshold, point.test.precision, point.test.recall, point.test.f1].map(score);
        let counts = [point.test.counts.fp, point.test.counts.r#fn].map(|count| count.to_string());
        let rule = format!("{}{used}{met}", point.rule);
        table.row([rule].into_iter().chain(scores).chain(counts));
    }
    table.note("Scores on test. Each threshold was chosen on validation before test was looked at.")
}

/// Rows, labels and lengths of each part.
pub fn parts(parts: &[PartSummary]) -> Table {
    let columns = ["part", "rows by label", "rows", "median tokens", "95 % within", "longest", "cut"];
    let mut table = Table::new("Data", 2, &columns);
    for part in parts {
        let labels: Vec<String> = part.labels.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let counts = [part.rows, part.median_tokens, part.p95_tokens, part.max_tokens, part.truncated];
        let first = [part.part.clone(), labels.join(", ")];
        table.row(first.into_iter().chain(counts.map(|count| count.to_string())));
    }
    table.note("Lengths in tokens, after cutting.")
}

/// The most confident wrong answers; `seeds` says how many runs answered each so, where there are several.
pub fn mistakes(mistakes: &[(Mistake, Option<String>)]) -> Table {
    let first = mistakes.first().and_then(|(_, seeds)| seeds.as_ref()).map(|_| "seeds");
    let columns = ["true", "predicted", "probability of it", "text", "nearest training text"];
    let columns: Vec<&str> = first.into_iter().chain(columns).collect();
    let mut table = Table::new("Mistakes", columns.len(), &columns);
    for (mistake, seeds) in mistakes {
        let near = match (&mistake.nearest_text, &mistake.nearest_label) {
            (Some(text), Some(label)) => {
                format!("{} ({label}, similarity {:.2})", shown(text), mistake.nearest_similarity)
            }
            _ => "none is near".into(),
        };
        let cells = [mistake.label.clone(), mistake.predicted.clone(), score(mistake.probability)];
        table.row(seeds.clone().into_iter().chain(cells).chain([shown(&mistake.text), near]));
    }
    Table { wide: true, ..table }
}

/// How many rows of each part are duplicates of rows in another.
pub fn overlaps(audit: &AuditResults) -> Table {
    let columns =
        ["rows of", "duplicates of", "exact", "but for case, space", "but for digits", "near", "all"];
    let mut table = Table::new("Overlaps", 2, &columns);
    for overlap in &audit.overlaps {
        let with = if overlap.with == overlap.part { "earlier rows of it" } else { &overlap.with };
        let counts = [overlap.exact, overlap.normalised, overlap.masked, overlap.near, overlap.total()];
        let names = [overlap.part.clone(), with.to_string()];
        table.row(names.into_iter().chain(counts.map(|count| count.to_string())));
    }
    let rows: Vec<String> = audit.rows.iter().map(|(part, rows)| format!("{part} {rows}")).collect();
    let near =
        format!("Near: Jaccard similarity of word triples, digits masked, of {} or more.", audit.threshold);
    table.note(format!("Rows: {}. {near}", rows.join(", ")))
}

/// Test and validation rows that were seen before, beside what they duplicate.
pub fn overlap_examples(audit: &AuditResults) -> Table {
    let mut table = Table::new("Examples of overlaps", 4, &["kind", "Jaccard", "row", "found"]);
    let leaks = |o: &&Overlap| o.part != "train" && o.with != o.part;
    for overlap in audit.overlaps.iter().filter(leaks) {
        for example in &overlap.examples {
            let row = format!("{} ({} {})", shown(&example.text), overlap.part, example.row);
            let found = format!("{} ({})", shown(&example.other), overlap.with);
            table.row([example.kind.clone(), format!("{:.2}", example.jaccard), row, found]);
        }
    }
    Table { wide: true, ..table }
}

/// Classes and lengths of a labelled file.
pub fn classes(found: &InspectResults) -> Table {
    let columns = ["label", "rows", "share", "characters: median / 95 % / longest", "words: the same"];
    let mut table = Table::new("Classes", 1, &columns);
    for class in &found.classes {
        let share = format!("{:.1} %", 100.0 * class.share);
        let (characters, words) = (lengths(&class.characters), lengths(&class.words));
        table.row([class.label.clone(), class.rows.to_string(), share, characters, words]);
    }
    table
}

/// Median, 95th percentile and longest in one cell.
pub fn lengths(of: &LengthSummary) -> String {
    [of.median, of.p95, of.max]
        .map(|length| length.map_or("-".into(), |length| length.to_string()))
        .join(" / ")
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.into(),
    }
}

/// Where the page of a run lies, as a cell.
pub fn link(pages: Vec<(String, String)>) -> Cell {
    Cell { links: pages, ..Cell::default() }
}
