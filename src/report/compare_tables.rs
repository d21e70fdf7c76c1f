//! The comparison as tables, for the terminal and for report.md.

use std::fmt::Write;

use super::tables::{Style, audit_table, page, table};
use crate::analysis::p_words;
use crate::metrics::efficiency::Bound;
use crate::results::{Arm, ArmScores, CompareResults, ScoreSummaries, Summary, TrainingMeans};

/// Scores, differences, label efficiency and costs, the verdict first.
pub fn compare_report(results: &CompareResults, style: Style) -> String {
    let mut body = scores(results, &results.scores, style);
    let _ = write!(
        body,
        "\nMean ± standard deviation over {} seeds with the 95 % interval of the mean, on {} test rows; {:.0} s\n",
        results.seeds.len(),
        results.scores.test_rows,
        results.wall_secs
    );
    let mut section = |title: &str, text: String| {
        if !text.is_empty() {
            let _ = write!(body, "\n## {title}\n\n{text}");
        }
    };
    section("Pre-trained minus from scratch", differences(results, style));
    section("How many labels pre-training is worth (by F1)", label_efficiency(results, style));
    section("What each arm was given", costs(results, style));
    section("How training went, as means over seeds", training(results, style));
    section("Thresholds chosen on validation, scores on test as means over seeds", operating(results, style));
    section("Pre-training loss beside F1", transfer(results, style));
    if let Some(clean) = &results.clean {
        let rows = clean.test_rows;
        section(&format!("On the {rows} test rows that stand nowhere else"), scores(results, clean, style));
    }
    if let Some(audit) = &results.audit {
        section("Overlaps", audit_table(audit, style));
    }
    section("Methods", results.methods.iter().map(|line| format!("- {line}\n")).collect());
    page("Pre-trained against scratch", &body, Some(&results.verdict))
}

/// The scores of an arm or baseline at a budget.
pub fn summaries<'a>(tables: &'a ArmScores, arm: Arm, budget: &str) -> Option<&'a ScoreSummaries> {
    let table = if arm.is_baseline() { &tables.baselines } else { &tables.arms };
    table.get(arm.key())?.budgets.get(budget)
}

fn scores(results: &CompareResults, tables: &ArmScores, style: Style) -> String {
    let head = ["labels", "model", "F1", "95 %", "precision", "recall", "PR-AUC", "MCC", "accuracy"];
    let mut table = table(style, &head);
    for budget in &results.budgets {
        for arm in Arm::ALL {
            let Some(scores) = summaries(tables, arm, budget) else { continue };
            let cell = |name: &str| scores.get(name).map_or("-".into(), mean_std);
            let interval = scores.get("f1").map_or("-".into(), |f1| range(f1.ci95));
            let figures = ["precision", "recall", "pr_auc", "mcc", "accuracy"].map(cell);
            let first = vec![budget.clone(), arm.name().into(), cell("f1"), interval];
            table.add_row([first, figures.to_vec()].concat());
        }
    }
    format!("{table}\n")
}

fn mean_std(summary: &Summary) -> String {
    format!("{:.3} ±{:.3}", summary.mean, summary.std)
}

fn range([low, high]: [f64; 2]) -> String {
    format!("{low:.3} to {high:.3}")
}

fn differences(results: &CompareResults, style: Style) -> String {
    let head =
        ["labels", "score", "difference", "95 %", "p", "corrected", "better seeds", "sign test", "McNemar"];
    let mut table = table(style, &head);
    for budget in &results.budgets {
        let Some(scores) = results.scores.paired.budgets.get(budget) else { continue };
        for (name, key) in [("F1", "f1"), ("PR-AUC", "pr_auc"), ("accuracy", "accuracy")] {
            let Some(found) = scores.get(key) else { continue };
            let p_values: Vec<String> =
                found.mcnemar.iter().map(|test| p_words(test.p_value).replace("p = ", "")).collect();
            let sign = &found.sign_test;
            table.add_row([
                budget.clone(),
                name.into(),
                format!("{:+.3}", found.difference),
                format!("{:+.3} to {:+.3}", found.ci95[0], found.ci95[1]),
                format!("{:.3}", found.p_value),
                format!("{:.3}", found.p_value_holm),
                format!("{} of {}", sign.wins, found.per_seed.len()),
                format!("{:.3}", sign.p_value),
                p_values.join(", "),
            ]);
        }
    }
    format!("{table}\n")
}

fn label_efficiency(results: &CompareResults, style: Style) -> String {
    let mut table = table(style, &["labels", "F1", "worth times the labels", "95 %"]);
    for found in &results.scores.label_efficiency {
        table.add_row([
            found.budget.clone(),
            format!("{:.3}", found.score),
            format!("{} {}", bound_words(found.bound), times(found.ratio)),
            format!("{} to {}", times(found.ci95[0]), times(found.ci95[1])),
        ]);
    }
    let rows = !results.scores.label_efficiency.is_empty();
    if rows { format!("{table}\n") } else { String::new() }
}

/// `about`, `at least`, `at most`.
pub fn bound_words(bound: Bound) -> &'static str {
    match bound {
        Bound::About => "about",
        Bound::AtLeast => "at least",
        Bound::AtMost => "at most",
    }
}

/// A ratio of labels; one below 1 would lose itself in one decimal.
pub fn times(ratio: f64) -> String {
    if ratio < 0.95 { format!("{ratio:.2}") } else { format!("{ratio:.1}") }
}

fn costs(results: &CompareResults, style: Style) -> String {
    let head = [
        "labels",
        "model",
        "tokens",
        "seconds",
        "pre-training tokens",
        "pre-training seconds",
        "settings tried",
    ];
    let mut table = table(style, &head);
    for budget in &results.budgets {
        for arm in Arm::ALL {
            let Some(cost) = results.costs.get(arm.key()).and_then(|costs| costs.get(budget)) else {
                continue;
            };
            let tokens = [cost.tokens, cost.pretraining_tokens].map(|count| format!("{count:.0}"));
            let secs = [cost.wall_secs, cost.pretraining_secs].map(|secs| format!("{secs:.1}"));
            let [tokens, before] = tokens;
            let [secs, secs_before] = secs;
            let tried = cost.settings_tried.to_string();
            table.add_row([budget.clone(), arm.name().into(), tokens, secs, before, secs_before, tried]);
        }
    }
    format!("{table}\n")
}

fn training(results: &CompareResults, style: Style) -> String {
    let head = [
        "labels",
        "model",
        "epoch kept",
        "of",
        "put back",
        "training loss",
        "validation loss",
        "gap at the end",
        "calibration error",
        "temperature",
        "error after",
    ];
    let mut table = table(style, &head);
    for (budget, arm, means) in run_means(results) {
        let epochs = [means.best_epoch, means.epochs].map(|epochs| format!("{epochs:.1}"));
        let losses = [means.train_loss, means.val_loss, means.last_gap, means.ece];
        let rest = [format!("{:.2}", means.temperature), format!("{:.3}", means.ece_tempered)];
        let losses = losses.map(|value| format!("{value:.3}"));
        let first = [budget.clone(), arm.name().into()];
        let restored = [means.restored.to_string()];
        table.add_row([&first[..], &epochs, &restored, &losses, &rest].concat());
    }
    if results.runs.is_empty() { String::new() } else { format!("{table}\n") }
}

fn operating(results: &CompareResults, style: Style) -> String {
    let head =
        ["labels", "model", "rule", "threshold", "precision", "recall", "F1", "false alarms", "missed"];
    let mut table = table(style, &head);
    let mut some = false;
    for (budget, arm, means) in run_means(results) {
        for point in &means.operating_points {
            some = true;
            let used = if point.chosen { " (used)" } else { "" };
            let scores = [point.threshold, point.precision, point.recall, point.f1];
            let counts = [point.false_alarms, point.missed].map(|count| format!("{count:.1}"));
            let first = [budget.clone(), arm.name().into(), format!("{}{used}", point.rule)];
            table.add_row([&first[..], &scores.map(|score| format!("{score:.3}")), &counts].concat());
        }
    }
    if some { format!("{table}\n") } else { String::new() }
}

/// By budget, then by arm.
fn run_means(results: &CompareResults) -> impl Iterator<Item = (&String, Arm, &TrainingMeans)> {
    results.budgets.iter().flat_map(move |budget| {
        let of_arm = move |arm: Arm| Some((budget, arm, results.runs.get(arm.key())?.get(budget)?));
        Arm::ALL.into_iter().filter_map(of_arm)
    })
}

fn transfer(results: &CompareResults, style: Style) -> String {
    let mut table = table(style, &["pre-training step", "its validation loss", "labels", "F1 seed by seed"]);
    for point in &results.transfer {
        let f1: Vec<String> = point.f1.iter().map(|f1| format!("{f1:.3}")).collect();
        table.add_row([
            point.step.to_string(),
            point.val_loss.map_or("random weights".into(), |loss| format!("{loss:.3}")),
            point.budget.clone(),
            f1.join(", "),
        ]);
    }
    if results.transfer.is_empty() { String::new() } else { format!("{table}\n") }
}
