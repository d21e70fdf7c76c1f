//! The page of a comparison: the answer, three plots, then everything it rests on.

use std::path::Path;

use maud::{Markup, html};

use super::curves::{events, logged, losses, precision_recall, roc};
use super::plot::{Axis, Plot, Series, Shape};
use super::run_page::{about, facts};
use super::{page, section, table, text, verdict};
use crate::error::Result;
use crate::report::cells::{Arm, Cell, cell_folder};
use crate::report::compare_tables::{bound_words, summaries};
use crate::report::findings::{SIGNIFICANT, labels, p_words};
use crate::report::results::{AuditResults, CompareResults, PretrainResults, Summary, Tables};
use crate::run_dir::read_json;

/// The page.
///
/// Errors: a run of the comparison that is missing or damaged.
pub fn comparison(path: &Path, results: &CompareResults) -> Result<Markup> {
    let pretraining = path.join("pretrain");
    let before = read_json::<PretrainResults>(&pretraining, "results.json").ok();
    let log = events(&pretraining);
    let body = html! {
        (verdict(&results.verdict, "Is pre-training worth it here? The pre-trained classifier is"))
        div class="plots" id="first" {
            (efficiency(results).draw())
            (differences(results).draw())
            (strip(results).draw())
        }
        (section("scores", "Scores", &scores(results, &results.tables)))
        (section("paired", "Pre-trained minus from scratch", &paired(results)))
        (section("efficiency", "How many labels pre-training is worth", &ratios(results)))
        (section("curves", &format!("Curves, {}, seed {}", labels(last(results)), results.seeds[0]), &curves(path, results)?))
        (section("fairness", "What each arm was given", &costs(results)))
        @if let Some(before) = &before {
            section id="pretraining" {
                h2 { "Pre-training" }
                p { (format!("{:.3} bits per byte on held-out text after {} tokens.", before.validation.val_bits_per_byte, before.tokens)) }
                div class="plots" {
                    (losses(&log, before.best_step, "nats per token").draw())
                    (logged(&log, "learning_rate", "Learning rate", 2).draw())
                    @if results.transfer.len() > 1 { (transfer(results).draw()) }
                }
            }
        }
        @if let Some(clean) = &results.clean {
            (section("clean", &format!("On the {} test rows that stand nowhere else", clean.test_rows), &scores(results, clean)))
        }
        @if let Some(audit) = &results.audit { (section("audit", "Overlaps", &overlaps(audit))) }
        (section("runs", "Every run", &runs(path, results)))
        (section("methods", "Methods", &html! { ul { @for line in &results.methods { li { (line) } } } }))
        (facts(path))
    };
    let about = format!(
        "{} seeds, {} test rows, positive label {}, {:.0} s; {}",
        results.seeds.len(),
        results.tables.test_rows,
        results.positive,
        results.wall_secs,
        about(path)
    );
    Ok(page("Pre-trained against from scratch", &about, &body))
}

fn last(results: &CompareResults) -> &str {
    results.budgets.last().map_or("all", String::as_str)
}

fn colour(arm: Arm) -> usize {
    Arm::ALL.iter().position(|other| *other == arm).unwrap_or(7)
}

/// Labels of each budget, with the name of the budget.
fn label_ticks(results: &CompareResults) -> Vec<(f64, String)> {
    let costs = results.costs.get(Arm::Pretrained.key());
    let count = |budget: &String| costs.and_then(|costs| costs.get(budget)).map_or(1.0, |cost| cost.labels);
    let tick = |budget: &String| {
        let count = count(budget);
        (count, if budget == "all" { format!("all {count:.0}") } else { budget.clone() })
    };
    results.budgets.iter().map(tick).collect()
}

fn f1<'a>(tables: &'a Tables, arm: Arm, budget: &str) -> Option<&'a Summary> {
    summaries(tables, arm, budget)?.get("f1")
}

/// Mean F1 over labels, with bands for the two arms.
fn efficiency(results: &CompareResults) -> Plot {
    let ticks = label_ticks(results);
    let mut series = Vec::new();
    for arm in Arm::ALL.into_iter().filter(|arm| *arm != Arm::Majority) {
        let points: Vec<(f64, &Summary)> = results
            .budgets
            .iter()
            .zip(&ticks)
            .filter_map(|(budget, tick)| Some((tick.0, f1(&results.tables, arm, budget)?)))
            .collect();
        if points.is_empty() {
            continue;
        }
        let colour = colour(arm);
        if !arm.is_baseline() {
            let band = points.iter().map(|(x, f1)| (*x, f1.ci95[0], f1.ci95[1])).collect();
            series.push(Series { name: None, colour, shape: Shape::Band(band) });
        }
        let line = points.iter().map(|(x, f1)| (*x, f1.mean)).collect();
        series.push(if arm.is_baseline() {
            Series::dashed(arm.name(), colour, line)
        } else {
            Series::line(arm.name(), colour, line)
        });
        let says = |(x, f1): &(f64, &Summary)| {
            let [low, high] = f1.ci95;
            (*x, f1.mean, format!("{}, {x:.0} labels: F1 {:.3} [{low:.3}, {high:.3}]", arm.name(), f1.mean))
        };
        series.push(Series { name: None, colour, shape: Shape::Dots(points.iter().map(says).collect()) });
    }
    Plot {
        id: "label-efficiency".into(),
        title: "F1 on test by number of labels".into(),
        description: "Mean F1 over seeds for every arm and baseline by number of labels; bands hold 95 % of resamples of \
                      rows and seeds."
            .into(),
        x: Axis::logarithmic("labels", ticks),
        y: Axis::share("F1"),
        series,
        marks: Vec::new(),
        level: None,
    }
}

/// Difference of the arms by budget with its interval.
fn differences(results: &CompareResults) -> Plot {
    let found: Vec<(f64, f64, f64, f64)> = results
        .budgets
        .iter()
        .enumerate()
        .filter_map(|(place, budget)| {
            let found = results.tables.paired.budgets.get(budget)?.get("f1")?;
            Some((place as f64, found.ci95[0], found.difference, found.ci95[1]))
        })
        .collect();
    let with_zero = [(0.0, 0.0, 0.0, 0.0)].into_iter().chain(found.iter().copied()).collect();
    let y = Axis::over(
        "difference in F1",
        &[Series { name: None, colour: 0, shape: Shape::Bars(with_zero) }],
        |point| point.1,
    );
    Plot {
        id: "differences".into(),
        title: "Pre-trained minus from scratch".into(),
        description: "Difference in mean F1 by number of labels with its 95 % interval; above zero pre-training is ahead."
            .into(),
        x: Axis::places("labels", &results.budgets),
        y,
        series: vec![Series { name: None, colour: 0, shape: Shape::Bars(found) }],
        marks: Vec::new(),
        level: Some(0.0),
    }
}

/// F1 of every seed of both arms.
fn strip(results: &CompareResults) -> Plot {
    let dots = |arm: Arm, aside: f64| {
        let mut points = Vec::new();
        for (place, budget) in results.budgets.iter().enumerate() {
            let Some(f1) = f1(&results.tables, arm, budget) else { continue };
            for (seed, value) in results.seeds.iter().zip(&f1.per_seed) {
                points.push((
                    place as f64 + aside,
                    *value,
                    format!("{}, {}, seed {seed}: {value:.3}", arm.name(), labels(budget)),
                ));
            }
        }
        Series { name: Some(arm.name().into()), colour: colour(arm), shape: Shape::Dots(points) }
    };
    let series = vec![dots(Arm::Pretrained, -0.12), dots(Arm::Scratch, 0.12)];
    Plot {
        id: "seeds".into(),
        title: "Every seed".into(),
        description: "F1 on test of each seed, pre-trained beside from scratch, by number of labels.".into(),
        x: Axis::places("labels", &results.budgets),
        y: Axis::over("F1", &series, |point| point.1),
        series,
        marks: Vec::new(),
        level: None,
    }
}

fn scores(results: &CompareResults, tables: &Tables) -> Markup {
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

fn paired(results: &CompareResults) -> Markup {
    let mut rows = Vec::new();
    for budget in &results.budgets {
        let Some(scores) = results.tables.paired.budgets.get(budget) else { continue };
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

fn ratios(results: &CompareResults) -> Markup {
    let row = |found: &crate::metrics::efficiency::LabelRatio| {
        let ratio = format!("{} {:.1} times", bound_words(found.bound), found.ratio);
        let range = format!("{:.1} to {:.1}", found.ci95[0], found.ci95[1]);
        (false, vec![text(&found.budget), text(format!("{:.3}", found.score)), text(ratio), text(range)])
    };
    let rows: Vec<(bool, Vec<Markup>)> = results.tables.label_efficiency.iter().map(row).collect();
    html! {
        (table("Label efficiency", &["labels", "F1", "from scratch needs, for the same F1", "95 %"], &rows))
        p class="soft" { "Read off the curve from scratch between its budgets; ends beyond what was measured are bounds." }
    }
}

fn costs(results: &CompareResults) -> Markup {
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

/// PR and ROC curves of the first seed with most labels.
fn curves(path: &Path, results: &CompareResults) -> Result<Markup> {
    let mut cells = Vec::new();
    for arm in [Arm::Pretrained, Arm::Scratch, Arm::CharSvm] {
        let folder = path.join(cell_folder(arm, last(results), results.seeds[0]));
        if folder.exists() {
            cells.push((arm, Cell::read(&folder)?));
        }
    }
    let runs: Vec<_> = cells
        .iter()
        .map(|(arm, cell)| {
            let positive = cell.predictions.label(&cell.results.positive);
            (arm.name().to_string(), colour(*arm), &cell.predictions, positive)
        })
        .collect();
    Ok(html! { div class="plots" { (precision_recall(&runs, None).draw()) (roc(&runs).draw()) } })
}

/// F1 over the validation loss of the pre-training it started from.
fn transfer(results: &CompareResults) -> Plot {
    let dots = results.transfer.iter().flat_map(|point| {
        point.f1.iter().filter_map(move |f1| {
            let loss = point.val_loss?;
            Some((loss, *f1, format!("step {}: loss {loss:.3}, F1 {f1:.3}", point.step)))
        })
    });
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let line = results.transfer.iter().filter_map(|point| Some((point.val_loss?, mean(&point.f1)))).collect();
    let series = vec![
        Series { name: Some("mean over seeds".into()), colour: 0, shape: Shape::Line(line) },
        Series { name: Some("one seed".into()), colour: 0, shape: Shape::Dots(dots.collect()) },
    ];
    Plot {
        id: "transfer".into(),
        title: "Does lower pre-training loss help the task?".into(),
        description:
            "F1 on test over the validation loss of the pre-training checkpoint that was fine-tuned.".into(),
        x: Axis::over("pre-training loss, nats per token", &series, |point| point.0),
        y: Axis::over("F1", &series, |point| point.1),
        series,
        marks: Vec::new(),
        level: None,
    }
}

fn overlaps(audit: &AuditResults) -> Markup {
    let row = |o: &crate::report::results::Overlap| {
        let with = if o.with == o.part { "itself, earlier" } else { &o.with };
        let counts = [o.exact, o.normalised, o.masked, o.near, o.total()].map(text);
        (false, [vec![text(&o.part), text(with)], counts.to_vec()].concat())
    };
    let rows: Vec<(bool, Vec<Markup>)> = audit.overlaps.iter().map(row).collect();
    let head = ["rows of", "found in", "exact", "case, space", "digits", "near", "all"];
    let of_test = audit.overlaps.iter().filter(|o| o.part == "test" && o.with != "test");
    let examples: Vec<_> = of_test.flat_map(|o| o.examples.iter().map(move |example| (o, example))).collect();
    html! {
        (table("Overlaps", &head, &rows))
        p class="soft" { (format!("Near: Jaccard similarity of word triples, digits masked, of {} or more.", audit.threshold)) }
        @if !examples.is_empty() {
            div class="scroll" role="region" aria-label="Examples of overlaps" tabindex="0" {
                table {
                    thead { tr { th scope="col" { "kind" } th scope="col" { "Jaccard" } th scope="col" class="text" { "test row" } th scope="col" class="text" { "found" } } }
                    tbody {
                        @for (overlap, example) in examples {
                            tr {
                                td { (example.kind) } td { (format!("{:.2}", example.jaccard)) }
                                td class="text" { (example.text) }
                                td class="text" { (example.other) " " span class="soft" { "(" (overlap.with) ")" } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Links to the page of every run that has one.
fn runs(path: &Path, results: &CompareResults) -> Markup {
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
