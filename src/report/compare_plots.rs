//! The plots of a comparison beside those of its runs.

use maud::Markup;

use super::axis::Axis;
use super::confusion;
use super::plot::{Plot, Series, Shape};
use super::seed_curves::{self, Runs};
use crate::analysis::labels;
use crate::metrics::{Scores, stats};
use crate::results::{Arm, Cells, CompareResults, Summary};

/// One of each arm and baseline; what is combined has that of its arm.
fn colour(arm: Arm, results: &CompareResults) -> usize {
    let arm = arm.combines().unwrap_or(arm);
    const OWN: [Arm; 6] =
        [Arm::Pretrained, Arm::Scratch, Arm::ScratchMatched, Arm::CharSvm, Arm::CharNgram, Arm::WordNgram];
    let mut starts = results.arms().into_iter().filter(|arm| matches!(arm, Arm::Start(_)));
    // Grey joins the seeds; further starts take the colours after it in turn.
    let start = || starts.position(|other| other == arm).map_or(OWN.len(), |at| OWN.len() + 1 + at % 3);
    OWN.iter().position(|other| *other == arm).unwrap_or_else(start)
}

/// Labels of each budget, with the name of the budget.
fn label_ticks(results: &CompareResults) -> Vec<(f64, String)> {
    let count = |budget: &String| results.cost(Arm::Pretrained, budget).map_or(1.0, |cost| cost.labels);
    let tick = |budget: &String| {
        let count = count(budget);
        (count, if budget == "all" { format!("all {count:.0}") } else { budget.clone() })
    };
    results.budgets.iter().map(tick).collect()
}

/// Mean F1 over labels, with bands for the arms.
pub fn efficiency(results: &CompareResults) -> Plot {
    let ticks = label_ticks(results);
    let of_arm = |arm: Arm| {
        let budgets = results.budgets.iter().zip(&ticks);
        let points: Vec<(f64, &Summary)> =
            budgets.filter_map(|(budget, tick)| Some((tick.0, results.scores.f1(arm, budget)?))).collect();
        let colour = colour(arm, results);
        let band = points.iter().map(|(x, f1)| (*x, f1.ci95[0], f1.ci95[1])).collect();
        let band = arm.is_trained().then(|| Series::new(colour, Shape::Band(band)));
        let line = points.iter().map(|(x, f1)| (*x, f1.mean)).collect();
        let line = if arm.is_trained() { Shape::Line(line) } else { Shape::Dashed(line) };
        let says = |(x, f1): &(f64, &Summary)| {
            let ([low, high], name) = (f1.ci95, arm.name());
            (*x, f1.mean, format!("{name}, {x:.0} labels: F1 {:.3} [{low:.3}, {high:.3}]", f1.mean))
        };
        let dots = Series::new(colour, Shape::Dots(points.iter().map(says).collect()));
        let all = band.into_iter().chain([Series::new(colour, line).named(arm.name()), dots]);
        if points.is_empty() { Vec::new() } else { all.collect() }
    };
    let x = Axis::logarithmic("labels", ticks.clone());
    Plot::new("label-efficiency", "F1 on test by number of labels", x, Axis::values("F1"))
        .describe(
            "Mean F1 over seeds for every arm, alone and with n-grams, and baseline by number of labels; bands hold 95 % of resamples of rows \
             and seeds.",
        )
        .series(results.arms().into_iter().filter(|arm| *arm != Arm::Majority).flat_map(of_arm))
}

/// Difference of the arms by budget with its interval.
pub fn differences(results: &CompareResults) -> Plot {
    let bar = |(place, budget): (usize, &String)| {
        let found = results.scores.difference(budget)?;
        Some((place as f64, found.ci95[0], found.difference, found.ci95[1]))
    };
    let bars = results.budgets.iter().enumerate().filter_map(bar).collect();
    let (x, y) = (Axis::places("labels", &results.budgets), Axis::values("difference in F1"));
    Plot::new("differences", "Pre-trained minus from scratch", x, y)
        .describe(
            "Difference in mean F1 by number of labels with its 95 % interval; above zero pre-training is ahead.",
        )
        .series([Series::new(0, Shape::Bars(bars))])
        .level(0.0)
}

/// F1 of every seed of both arms.
pub fn strip(results: &CompareResults) -> Plot {
    let dots = |arm: Arm, aside: f64| {
        let mut points = Vec::new();
        for (place, budget) in results.budgets.iter().enumerate() {
            let Some(f1) = results.scores.f1(arm, budget) else { continue };
            for (seed, value) in results.seeds.iter().zip(&f1.per_seed) {
                let says = format!("{}, {}, seed {seed}: {value:.3}", arm.name(), labels(budget));
                points.push((place as f64 + aside, *value, says));
            }
        }
        points
    };
    let (a, b) = (dots(Arm::Pretrained, -0.12), dots(Arm::Scratch, 0.12));
    // Lines join the two answers of one seed.
    let joins: Vec<Series> = a
        .iter()
        .zip(&b)
        .map(|(from, to)| Series::new(6, Shape::Thin(vec![(from.0, from.1), (to.0, to.1)])))
        .collect();
    let arms = [(Arm::Pretrained, a), (Arm::Scratch, b)]
        .map(|(arm, points)| Series::new(colour(arm, results), Shape::Dots(points)).named(arm.name()));
    Plot::new("seeds", "Every seed", Axis::places("labels", &results.budgets), Axis::values("F1"))
        .describe(
            "F1 on test of each seed, pre-trained beside from scratch and joined to it, by number of labels.",
        )
        .series(joins)
        .series(arms)
}

/// F1 over the validation loss of the pre-training it started from.
pub fn transfer(results: &CompareResults) -> Plot {
    let dots = results.transfer.iter().flat_map(|point| {
        point.f1.iter().filter_map(move |f1| {
            let loss = point.val_loss?;
            Some((loss, *f1, format!("step {}: loss {loss:.3}, F1 {f1:.3}", point.step)))
        })
    });
    let mean = |f1: &[f64]| stats::mean(f1.iter().copied());
    let line = results.transfer.iter().filter_map(|point| Some((point.val_loss?, mean(&point.f1)))).collect();
    let (x, y) = (Axis::values("pre-training loss, nats per token"), Axis::values("F1"));
    Plot::new("transfer", "Does lower pre-training loss help the task?", x, y)
        .describe("F1 on test over the validation loss of the pre-training checkpoint that was fine-tuned.")
        .series([
            Series::new(0, Shape::Line(line)).named("mean over seeds"),
            Series::new(0, Shape::Dots(dots.collect())).named("one seed"),
        ])
}

/// The plots of all seeds with the fewest and with the most labels.
pub fn curves(results: &CompareResults, cells: &Cells) -> Vec<Markup> {
    let mut budgets: Vec<&String> =
        results.budgets.first().into_iter().chain(results.budgets.last()).collect();
    budgets.dedup();
    budgets.into_iter().flat_map(|budget| of_budget(results, cells, budget)).collect()
}

/// The arms, but for the longer one, and the baseline that stands for all.
fn of_budget(results: &CompareResults, cells: &Cells, budget: &str) -> Vec<Markup> {
    let shown = |arm: &Arm| arm.with_ngrams().is_some() || *arm == Arm::CharSvm;
    let runs = results.arms().into_iter().filter(shown);
    let runs = runs.map(|arm| Runs { arm, colour: colour(arm, results), cells: cells.of(arm, budget) });
    let runs: Vec<Runs<'_>> = runs.filter(|runs| !runs.cells.is_empty()).collect();
    let arms: Vec<Runs<'_>> = runs.iter().filter(|runs| runs.arm.is_trained()).copied().collect();
    let mut plots = vec![
        seed_curves::precision_recall(&runs, budget),
        seed_curves::roc(&runs, budget),
        seed_curves::learning(&arms, budget),
        seed_curves::reliability(&arms, budget),
    ];
    if arms.iter().any(|arm| arm.cells[0].test().threshold.is_some()) {
        plots.push(seed_curves::thresholds(&arms, budget));
    }
    let confusions = arms.iter().map(|arm| mean_confusion(arm, budget));
    plots.iter().map(Plot::draw).chain(confusions).collect()
}

/// Counts on test, as means over seeds.
fn mean_confusion(runs: &Runs<'_>, budget: &str) -> Markup {
    let scores: Vec<&Scores> = runs.cells.iter().map(|cell| cell.test()).collect();
    let names = confusion::names(scores[0]);
    let mean = |r: usize, c: usize| stats::mean(scores.iter().map(|scores| scores.confusion[r][c] as f64));
    let counts: Vec<Vec<f64>> =
        (0..names.len()).map(|r| (0..names.len()).map(|c| mean(r, c)).collect()).collect();
    confusion::confusion(&format!("Confusion, {}, {budget} labels", runs.arm.name()), &names, &counts)
}
