//! The page of a comparison: the answer, three plots, then everything it rests on.

use std::path::Path;

use maud::{Markup, html};

use super::compare_sections::{by_label, costs, data, f1, mistakes, paired, ratios, runs, scores, training};
use super::curves::{confusion, events, logged, losses};
use super::overlaps::overlaps;
use super::plot::{Axis, Plot, Series, Shape};
use super::run_page::facts;
use super::seed_curves::{self, Runs};
use super::{page, section, verdict};
use crate::analysis::labels;
use crate::error::Result;
use crate::metrics::Scores;
use crate::results::Predictions;
use crate::results::{Arm, Cell, cell_folder};
use crate::results::{CompareResults, PretrainResults, Summary};
use crate::run_dir::{Manifest, read_json};

/// The page.
///
/// Errors: a run of the comparison that is missing or damaged.
pub fn comparison(path: &Path, results: &CompareResults) -> Result<Markup> {
    let pretraining = path.join("pretrain");
    let before = read_json::<PretrainResults>(&pretraining, "results.json").ok();
    let log = events(&pretraining);
    let body = html! {
        (verdict(&results.verdict, "Is pre-training worth it?", "the pre-trained classifier"))
        div class="plots" id="first" {
            (efficiency(results).draw())
            (differences(results).draw())
            (strip(results).draw())
        }
        (section("scores", "Scores", &scores(results, &results.scores)))
        (section("paired", "Pre-trained minus from scratch", &paired(results)))
        (section("efficiency", "How many labels pre-training is worth", &ratios(results)))
        (section("curves", "Curves of every seed", &curves(path, results)?))
        (section("training", "How training went, thresholds and calibration", &training(results)))
        (section("labels", "Scores by label", &by_label(path, results)?))
        (section("mistakes", "Most confident mistakes", &mistakes(path, results)))
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
        (section("data", "Data", &data(path, results)?))
        (section("runs", "Every run", &runs(path, results)))
        (section("methods", "Methods", &html! { ul { @for line in &results.methods { li { (line) } } } }))
        (facts(path))
    };
    Ok(page("Pre-trained against from scratch", &about(path, results), &body))
}

/// The line below the title: what, where and when.
fn about(path: &Path, results: &CompareResults) -> String {
    let (seeds, rows) = (results.seeds.len(), results.scores.test_rows);
    let what = format!(
        "{seeds} seeds, {rows} test rows, positive label {}, {:.0} s",
        results.positive, results.wall_secs
    );
    match read_json::<Manifest>(path, "run.json") {
        Err(_) => what,
        Ok(run) => {
            let commit: String = run.git_commit.chars().take(10).collect();
            format!(
                "{what}; {}, device {}, {} threads, train {} ({commit})",
                path.display(),
                run.device,
                run.threads,
                run.version
            )
        }
    }
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

/// Mean F1 over labels, with bands for the two arms.
fn efficiency(results: &CompareResults) -> Plot {
    let ticks = label_ticks(results);
    let mut series = Vec::new();
    for arm in Arm::ALL.into_iter().filter(|arm| *arm != Arm::Majority) {
        let points: Vec<(f64, &Summary)> = results
            .budgets
            .iter()
            .zip(&ticks)
            .filter_map(|(budget, tick)| Some((tick.0, f1(&results.scores, arm, budget)?)))
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
        y: Axis::over("F1", &series, |point| point.1),
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
            let found = results.scores.paired.budgets.get(budget)?.get("f1")?;
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
            let Some(f1) = f1(&results.scores, arm, budget) else { continue };
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
    let (a, b) = (dots(Arm::Pretrained, -0.12), dots(Arm::Scratch, 0.12));
    // Lines join the two answers of one seed.
    let join = |((x, y), to): ((f64, f64), (f64, f64))| Series {
        name: None,
        colour: 6,
        shape: Shape::Thin(vec![(x, y), to]),
    };
    let mut series: Vec<Series> = a.points().into_iter().zip(b.points()).map(join).collect();
    series.extend([a, b]);
    Plot {
        id: "seeds".into(),
        title: "Every seed".into(),
        description:
            "F1 on test of each seed, pre-trained beside from scratch and joined to it, by number of labels."
                .into(),
        x: Axis::places("labels", &results.budgets),
        y: Axis::over("F1", &series, |point| point.1),
        series,
        marks: Vec::new(),
        level: None,
    }
}

/// The plots of all seeds with the fewest and with the most labels.
fn curves(path: &Path, results: &CompareResults) -> Result<Markup> {
    let mut budgets: Vec<&String> =
        results.budgets.first().into_iter().chain(results.budgets.last()).collect();
    budgets.dedup();
    let mut drawn = Vec::new();
    for budget in budgets {
        let cells = read_cells(path, results, budget)?;
        let runs: Vec<Runs<'_>> =
            cells.iter().map(|(arm, cells)| runs_of(path, results, budget, (*arm, cells))).collect();
        let arms: Vec<Runs<'_>> =
            runs.iter().filter(|runs| !runs.arm.is_baseline()).map(Runs::clone).collect();
        drawn.push(html! {
            (seed_curves::precision_recall(&runs, budget).draw())
            (seed_curves::roc(&runs, budget).draw())
            (seed_curves::learning(&arms, budget).draw())
            (seed_curves::reliability(&arms, budget).draw())
            @if arms.iter().any(|arm| arm.cells[0].test().threshold.is_some()) {
                (seed_curves::thresholds(&arms, budget).draw())
            }
            @for arm in &arms { (mean_confusion(arm, budget)) }
        });
    }
    let about = match results.scores.test_rows {
        rows if results.positive.is_empty() => format!("{rows} test rows."),
        rows => format!("Of {} on {rows} test rows. Thin lines are single seeds.", results.positive),
    };
    Ok(html! { p class="soft" { (about) } div class="plots" { @for plots in &drawn { (plots) } } })
}

/// Both arms and the baseline that stands for all.
fn read_cells(path: &Path, results: &CompareResults, budget: &str) -> Result<Vec<(Arm, Vec<Cell>)>> {
    let mut found = Vec::new();
    for arm in [Arm::Pretrained, Arm::Scratch, Arm::CharSvm] {
        let cells: Result<Vec<Cell>> = results
            .seeds
            .iter()
            .map(|seed| Cell::read(arm, &path.join(cell_folder(arm, budget, *seed))))
            .collect();
        found.push((arm, cells?));
    }
    Ok(found)
}

fn runs_of<'a>(
    path: &Path,
    results: &CompareResults,
    budget: &str,
    (arm, cells): (Arm, &'a Vec<Cell>),
) -> Runs<'a> {
    let folders: Vec<_> =
        results.seeds.iter().map(|seed| path.join(cell_folder(arm, budget, *seed))).collect();
    let validation: Result<Vec<Predictions>> = folders
        .iter()
        .map(|folder| Predictions::read(&folder.join("validation_predictions.jsonl")))
        .collect();
    let logs =
        if arm.is_baseline() { Vec::new() } else { folders.iter().map(|folder| events(folder)).collect() };
    // Baselines and runs of older versions keep no answers to validation rows.
    Runs { arm, colour: colour(arm), cells, validation: validation.unwrap_or_default(), logs }
}

/// Counts on test, as means over seeds.
fn mean_confusion(runs: &Runs<'_>, budget: &str) -> Markup {
    let scores: Vec<&Scores> = runs.cells.iter().map(|cell| cell.test()).collect();
    let names: Vec<&str> = scores[0].per_class.iter().map(|class| class.label.as_str()).collect();
    let mean = |r: usize, c: usize| {
        scores.iter().map(|scores| scores.confusion[r][c] as f64).sum::<f64>() / scores.len() as f64
    };
    let counts: Vec<Vec<f64>> =
        (0..names.len()).map(|r| (0..names.len()).map(|c| mean(r, c)).collect()).collect();
    confusion(&format!("Confusion, {}, {budget} labels", runs.arm.name()), &names, &counts)
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
