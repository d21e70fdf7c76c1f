//! The tables of a comparison's page.

use std::collections::BTreeMap;
use std::path::Path;

use maud::{Markup, html};

use super::{run_page, table, text};
use crate::analysis::{SIGNIFICANT, labels, p_words};
use crate::error::Result;
use crate::metrics::scores::LabelScores;
use crate::report::compare_tables::{bound_words, summaries, times};
use crate::results::{Arm, ArmScores, cell_folder};
use crate::results::{CompareResults, FinetuneResults, Mistake, Summary};
use crate::run_dir::read_json;

/// Mistakes shown of all that the runs kept.
const SHOWN_MISTAKES: usize = 12;

/// F1 of an arm or baseline at a budget.
pub fn f1<'a>(tables: &'a ArmScores, arm: Arm, budget: &str) -> Option<&'a Summary> {
    summaries(tables, arm, budget)?.get("f1")
}

/// Every score of every arm and baseline, by budget.
pub fn scores(results: &CompareResults, tables: &ArmScores) -> Markup {
    let mut rows = Vec::new();
    for budget in &results.budgets {
        let means = Arm::ALL.map(|arm| f1(tables, arm, budget).map(|f1| f1.mean));
        let best = means.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut first = true;
        for arm in Arm::ALL {
            let Some(scores) = summaries(tables, arm, budget) else { continue };
            let cell =
                |key: &str| scores.get(key).map_or("-".into(), |s| format!("{:.3} ±{:.3}", s.mean, s.std));
            let f1 = scores.get("f1");
            let leads = f1.is_some_and(|f1| f1.mean == best);
            let interval = f1.map_or("-".into(), |f1| format!("{:.3} to {:.3}", f1.ci95[0], f1.ci95[1]));
            let mut cells = vec![
                text(budget),
                text(arm.name()),
                html! { span class=[leads.then_some("best")] { (cell("f1")) } },
                text(interval),
            ];
            cells.extend(["precision", "recall", "pr_auc", "mcc", "accuracy"].map(|key| text(cell(key))));
            rows.push((std::mem::take(&mut first), cells));
        }
    }
    let head = ["labels", "model", "F1", "95 %", "precision", "recall", "PR-AUC", "MCC", "accuracy"];
    html! {
        (table("Scores", &head, &rows))
        p class="soft" { "Mean ± standard deviation over seeds, with the 95 % interval of the mean F1; the best F1 of each budget is bold." }
    }
}

/// Differences of the two arms with intervals and tests.
pub fn paired(results: &CompareResults) -> Markup {
    let mut rows = Vec::new();
    for budget in &results.budgets {
        let Some(scores) = results.scores.paired.budgets.get(budget) else { continue };
        let mut first = true;
        for (name, key) in [("F1", "f1"), ("PR-AUC", "pr_auc"), ("accuracy", "accuracy")] {
            let Some(found) = scores.get(key) else { continue };
            let mcnemar: Vec<String> = found.mcnemar.iter().map(|test| p_words(test.p_value)).collect();
            let shown = found.p_value_holm < SIGNIFICANT;
            rows.push((
                std::mem::take(&mut first),
                vec![
                    text(budget),
                    text(name),
                    html! { span class=[shown.then_some("best")] { (format!("{:+.3}", found.difference)) } },
                    text(format!("{:+.3} to {:+.3}", found.ci95[0], found.ci95[1])),
                    text(format!("{:.3}", found.p_value)),
                    text(format!("{:.3}", found.p_value_holm)),
                    text(format!(
                        "{} of {} (p = {:.3})",
                        found.sign_test.wins,
                        found.per_seed.len(),
                        found.sign_test.p_value
                    )),
                    text(mcnemar.join(", ")),
                ],
            ));
        }
    }
    let head = [
        "labels",
        "score",
        "difference",
        "95 %",
        "p",
        "corrected p",
        "better seeds, sign test",
        "McNemar, seed by seed",
    ];
    html! {
        (table("Paired differences", &head, &rows))
        p class="soft" { "Bold: shown at the 5 % level after correction." }
    }
}

/// How many labels pre-training is worth.
pub fn ratios(results: &CompareResults) -> Markup {
    let row = |found: &crate::metrics::efficiency::LabelRatio| {
        let ratio = format!("{} {} times", bound_words(found.bound), times(found.ratio));
        let range = format!("{} to {}", times(found.ci95[0]), times(found.ci95[1]));
        (false, vec![text(&found.budget), text(format!("{:.3}", found.score)), text(ratio), text(range)])
    };
    let rows: Vec<(bool, Vec<Markup>)> = results.scores.label_efficiency.iter().map(row).collect();
    html! {
        (table("Label efficiency", &["labels", "F1", "from scratch needs, for the same F1", "95 %"], &rows))
        p class="soft" { "Read off the curve from scratch between its budgets; ends beyond what was measured are bounds." }
    }
}

/// Tokens and seconds of each arm.
pub fn costs(results: &CompareResults) -> Markup {
    let mut rows = Vec::new();
    for budget in &results.budgets {
        let mut first = true;
        for arm in Arm::ALL {
            let Some(cost) = results.costs.get(arm.key()).and_then(|costs| costs.get(budget)) else {
                continue;
            };
            rows.push((
                std::mem::take(&mut first),
                vec![
                    text(budget),
                    text(arm.name()),
                    text(format!("{:.0}", cost.tokens)),
                    text(format!("{:.1}", cost.wall_secs)),
                    text(format!("{:.0}", cost.pretraining_tokens)),
                    text(format!("{:.1}", cost.pretraining_secs)),
                    text(cost.settings_tried),
                ],
            ));
        }
    }
    let head =
        ["labels", "model", "tokens", "seconds", "pre-training tokens", "its seconds", "settings tried"];
    html! {
        (table("Costs", &head, &rows))
        p class="soft" { "Means over seeds. Pre-training is paid once for all seeds and budgets." }
    }
}

/// How training went and how far the probabilities can be believed.
pub fn training(results: &CompareResults) -> Markup {
    let seeds = results.seeds.len();
    let mut rows = Vec::new();
    let mut points = Vec::new();
    for budget in &results.budgets {
        let mut first = true;
        for arm in Arm::ALL {
            let Some(means) = results.runs.get(arm.key()).and_then(|runs| runs.get(budget)) else { continue };
            let figures = [
                format!("{:.1} of {:.1}", means.best_epoch, means.epochs),
                format!("{} of {seeds}", means.restored),
                format!("{:.3}", means.train_loss),
                format!("{:.3}", means.val_loss),
                format!("{:+.3}", means.val_loss - means.train_loss),
                format!("{:+.3}", means.last_gap),
                format!("{:.3}", means.ece),
                format!("{:.2}", means.temperature),
                format!("{:.3}", means.ece_tempered),
            ];
            let name = vec![text(budget), text(arm.name())];
            rows.push((std::mem::take(&mut first), [name.clone(), figures.map(text).to_vec()].concat()));
            for (at, point) in means.operating_points.iter().enumerate() {
                let used = if point.chosen { " (used)" } else { "" };
                let met = if point.met < seeds {
                    format!(" (reached on {} of {seeds} seeds)", point.met)
                } else {
                    String::new()
                };
                let figures = [point.threshold, point.precision, point.recall, point.f1]
                    .map(|v| text(format!("{v:.3}")));
                let counts = [point.false_alarms, point.missed].map(|v| text(format!("{v:.1}")));
                let rule = vec![text(format!("{}{used}{met}", point.rule))];
                points.push((at == 0, [name.clone(), rule, figures.to_vec(), counts.to_vec()].concat()));
            }
        }
    }
    let head = [
        "labels",
        "model",
        "epoch kept",
        "earlier weights put back",
        "training loss",
        "validation loss",
        "gap",
        "gap at the end",
        "calibration error",
        "temperature",
        "error after it",
    ];
    let points_head = [
        "labels",
        "model",
        "threshold chosen on validation by",
        "threshold",
        "precision",
        "recall",
        "F1",
        "false alarms",
        "missed",
    ];
    html! {
        (table("Training", &head, &rows))
        p class="soft" {
            "Means over seeds. Losses in nats per row at the weights kept; the gap is validation minus training loss, and one              that grows towards the end is overfitting, which the weights kept avoid. The temperature is fitted on validation."
        }
        @if !points.is_empty() {
            (table("Operating points", &points_head, &points))
            p class="soft" { "Scores on test, means over seeds. Each threshold was fixed before test was looked at." }
        }
    }
}

/// Every label's scores on test with the most labels, as means over seeds.
pub fn by_label(path: &Path, results: &CompareResults) -> Result<Markup> {
    let Some(budget) = results.budgets.last() else { return Ok(html! {}) };
    let mut rows = Vec::new();
    for arm in [Arm::Pretrained, Arm::Scratch] {
        let runs = fine_tunings(path, results, arm, budget)?;
        for (at, label) in runs[0].scores.per_class.iter().enumerate() {
            let mean = |value: fn(&LabelScores) -> f64| {
                let sum: f64 = runs.iter().map(|run| value(&run.scores.per_class[at])).sum();
                text(format!("{:.3}", sum / runs.len() as f64))
            };
            let scores = [mean(|s| s.precision), mean(|s| s.recall), mean(|s| s.f1)];
            let name = vec![text(&label.label), text(arm.name())];
            rows.push((at == 0, [name, scores.to_vec(), vec![text(label.support)]].concat()));
        }
    }
    let head = ["label", "model", "precision", "recall", "F1", "test rows"];
    Ok(html! {
        (table("Scores by label", &head, &rows))
        p class="soft" { (format!("With {}, means over seeds.", labels(budget))) }
    })
}

/// Rows that the pre-trained arm with the most labels answers wrongly, those of most seeds first, and what stands
/// nearest to them in training.
pub fn mistakes(path: &Path, results: &CompareResults) -> Markup {
    let Some(budget) = results.budgets.last() else { return html! {} };
    let mut by_row: BTreeMap<usize, Vec<Mistake>> = BTreeMap::new();
    for seed in &results.seeds {
        for mistake in run_page::read_mistakes(&path.join(cell_folder(Arm::Pretrained, budget, *seed))) {
            by_row.entry(mistake.id).or_default().push(mistake);
        }
    }
    let mean = |of: &[Mistake]| of.iter().map(|mistake| mistake.probability).sum::<f64>() / of.len() as f64;
    let mut of_rows: Vec<Vec<Mistake>> = by_row.into_values().collect();
    of_rows.sort_by(|a, b| b.len().cmp(&a.len()).then(mean(b).total_cmp(&mean(a))));
    let shown: Vec<(String, Mistake)> = of_rows
        .iter()
        .take(SHOWN_MISTAKES)
        .map(|of| {
            let seeds = format!("{} of {}", of.len(), results.seeds.len());
            (seeds, Mistake { probability: mean(of), ..of[0].clone() })
        })
        .collect();
    html! {
        (run_page::mistakes_table(Some("seeds"), &shown))
        @if !shown.is_empty() {
            p class="soft" { (format!("Of the most confident mistakes of each seed with {}; probabilities are means.", labels(budget))) }
        }
    }
}

/// Rows, labels and lengths of each part.
pub fn data(path: &Path, results: &CompareResults) -> Result<Markup> {
    let Some(budget) = results.budgets.last() else { return Ok(html! {}) };
    let runs = fine_tunings(path, results, Arm::Pretrained, budget)?;
    Ok(html! {
        (run_page::parts(&runs[0]))
        p class="soft" {
            (format!("Lengths in tokens, after cutting; {:.1} % of all texts are cut.", 100.0 * runs[0].training.truncated_share))
        }
    })
}

fn fine_tunings(
    path: &Path,
    results: &CompareResults,
    arm: Arm,
    budget: &str,
) -> Result<Vec<FinetuneResults>> {
    let read = |seed: &u64| read_json(&path.join(cell_folder(arm, budget, *seed)), "results.json");
    results.seeds.iter().map(read).collect()
}

/// Links to the page of every run that has one.
pub fn runs(path: &Path, results: &CompareResults) -> Markup {
    let mut rows = Vec::new();
    for budget in &results.budgets {
        for arm in Arm::ALL.into_iter().filter(|arm| !arm.is_baseline()) {
            let links: Vec<(String, u64)> = results
                .seeds
                .iter()
                .map(|seed| (format!("{}/report.html", cell_folder(arm, budget, *seed).display()), *seed))
                .filter(|(page, _)| path.join(page).exists())
                .collect();
            if links.is_empty() {
                continue;
            }
            let cell = html! { @for (page, seed) in links { a href=(page) { "seed " (seed) } " " } };
            rows.push((arm == Arm::Pretrained, vec![text(budget), text(arm.name()), cell]));
        }
    }
    table("Runs", &["labels", "model", "report"], &rows)
}
