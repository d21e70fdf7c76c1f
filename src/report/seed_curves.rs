//! Curves of an arm with several seeds: each seed as a thin line, their mean as a thick one.

use super::axis::Axis;
use super::curves::diagonal;
use super::plot::{Plot, Series, Shape};
use crate::metrics::calibration::{calibration_error, reliability as bins};
use crate::metrics::curves::{cuts, pr_curve, precision_at, roc_curve, true_positive_rate_at};
use crate::metrics::stats;
use crate::results::{Arm, Cell, Finetuned, Predictions};

/// Places between 0 and 1 at which the mean of curves is taken.
const PLACES: usize = 100;

/// The runs of one arm at one budget, one per seed.
#[derive(Clone, Copy)]
pub struct Runs<'a> {
    /// Which arm.
    pub arm: Arm,
    /// Number of its colour.
    pub colour: usize,
    /// Seeds in order; at least one.
    pub cells: &'a [Cell],
}

type Line = Vec<(f64, f64)>;

impl<'a> Runs<'a> {
    /// Whether each row is positive, and its probability.
    fn scored(&self, answers: &Predictions) -> (Vec<bool>, Vec<f64>) {
        answers.one_label(answers.label(self.cells[0].positive()))
    }

    fn finetuned(&self) -> impl Iterator<Item = &'a Finetuned> {
        self.cells.iter().flat_map(Cell::finetuned)
    }

    fn name(&self) -> String {
        match self.cells.len() {
            1 => self.arm.name(),
            seeds => format!("{}, mean of {seeds} seeds", self.arm.name()),
        }
    }

    /// Thin lines and their mean.
    fn series(&self, name: String, lines: Vec<Line>, mean: Line) -> Vec<Series> {
        let thin = if lines.len() > 1 { lines } else { Vec::new() };
        let thin = thin.into_iter().map(|line| Series::new(self.colour, Shape::Thin(line)));
        thin.chain([Series::new(self.colour, Shape::Line(mean)).named(name)]).collect()
    }
}

/// The mean of `value` over the runs at each place from 0 to 1.
fn mean_over<T>(curves: &[T], value: impl Fn(&T, f64) -> f64) -> Line {
    let at = |place: usize| {
        let x = place as f64 / PLACES as f64;
        (x, stats::mean(curves.iter().map(|curve| value(curve, x))))
    };
    if curves.is_empty() { Vec::new() } else { (0..=PLACES).map(at).collect() }
}

/// Precision over recall on test; the mean is taken over seeds at each recall.
pub fn precision_recall(arms: &[Runs<'_>], budget: &str) -> Plot {
    let of_arm = |runs: &Runs<'_>| {
        let scored = runs.cells.iter().map(|cell| runs.scored(cell.predictions()));
        let curves: Vec<_> = scored.map(|(p, s)| pr_curve(&p, &s)).filter(|c| !c.is_empty()).collect();
        let lines = curves.iter().map(|c| c.iter().map(|point| (point.recall, point.precision)).collect());
        runs.series(runs.name(), lines.collect(), mean_over(&curves, |c, x| precision_at(c, x)))
    };
    let (id, title) =
        (format!("precision-recall-{budget}"), format!("Precision and recall, {budget} labels"));
    Plot::new(id, title, Axis::share("recall"), Axis::share("precision"))
        .describe(
            "Precision over recall on test: thin lines for each seed, thick ones for the mean precision at each recall.",
        )
        .series(arms.iter().flat_map(of_arm))
}

/// True over false positive rate on test; the mean is taken over seeds at each false positive rate.
pub fn roc(arms: &[Runs<'_>], budget: &str) -> Plot {
    let of_arm = |runs: &Runs<'_>| {
        let scored = runs.cells.iter().map(|cell| runs.scored(cell.predictions()));
        let curves: Vec<_> = scored.map(|(p, s)| roc_curve(&p, &s)).filter(|c| !c.is_empty()).collect();
        let lines = curves
            .iter()
            .map(|c| c.iter().map(|point| (point.false_positive_rate, point.true_positive_rate)).collect());
        runs.series(runs.name(), lines.collect(), mean_over(&curves, |c, x| true_positive_rate_at(c, x)))
    };
    let (x, y) = (Axis::share("false positive rate"), Axis::share("true positive rate"));
    Plot::new(format!("roc-{budget}"), format!("ROC, {budget} labels"), x, y)
        .describe(
            "Share of positive rows found over share of negative rows predicted as positive, on test: thin lines for \
             each seed, thick ones for the mean at each false positive rate.",
        )
        .series([diagonal("chance")])
        .series(arms.iter().flat_map(of_arm))
}

/// Observed share over predicted probability on test, the rows of all seeds pooled.
pub fn reliability(arms: &[Runs<'_>], budget: &str) -> Plot {
    let of_arm = |runs: &Runs<'_>| {
        let answers: Vec<&Predictions> = runs.cells.iter().map(Cell::predictions).collect();
        let positive = answers[0].label(runs.cells[0].positive());
        let line = |labels: &[u32], probabilities: &[Vec<f64>]| -> Line {
            let bins = bins((labels, probabilities), positive);
            bins.iter().map(|bin| (bin.predicted, bin.observed)).collect()
        };
        let lines = answers.iter().map(|of| line(&of.labels, &of.probabilities)).collect();
        let labels: Vec<u32> = answers.iter().flat_map(|of| of.labels.iter().copied()).collect();
        let probabilities: Vec<Vec<f64>> =
            answers.iter().flat_map(|of| of.probabilities.iter().cloned()).collect();
        let error = stats::mean(answers.iter().map(|of| calibration_error(of.answered())));
        let name = format!("{}, calibration error {error:.3}", runs.arm.name());
        runs.series(name, lines, line(&labels, &probabilities))
    };
    let (id, title) =
        (format!("reliability-{budget}"), format!("Can the probabilities be believed? {budget} labels"));
    Plot::new(id, title, Axis::share("predicted probability"), Axis::share("observed share"))
        .describe(
            "Observed share of positive rows over predicted probability on test: thin lines for each seed, thick ones \
             for the rows of all seeds together; the calibration error is the mean over seeds.",
        )
        .series([diagonal("perfect")])
        .series(arms.iter().flat_map(of_arm))
}

/// F1 on validation at every threshold, seed by seed, with the threshold each seed uses.
pub fn thresholds(arms: &[Runs<'_>], budget: &str) -> Plot {
    let of_arm = |runs: &Runs<'_>| {
        let (mut series, mut used) = (Vec::new(), Vec::new());
        for run in runs.finetuned() {
            let Some(answers) = &run.validation_predictions else { continue };
            let (positives, probabilities) = runs.scored(answers);
            let cuts = cuts(&positives, &probabilities);
            let f1 = cuts.iter().rev().map(|cut| (cut.threshold, cut.counts.scores().f1)).collect();
            series.push(Series::new(runs.colour, Shape::Thin(f1)));
            let Some(threshold) = run.results.scores.test.threshold else { continue };
            let at = cuts.iter().rfind(|cut| cut.threshold >= threshold).or(cuts.first());
            used.extend(at.map(|cut| {
                let f1 = cut.counts.scores().f1;
                let name = runs.arm.name();
                (threshold, f1, format!("{name}: threshold {threshold:.3}, F1 {f1:.3} on validation"))
            }));
        }
        let dots = Series::new(runs.colour, Shape::Dots(used)).named(format!("{}, used", runs.arm.name()));
        series.push(dots);
        series
    };
    let (id, title) = (format!("thresholds-{budget}"), format!("Choice of the thresholds, {budget} labels"));
    Plot::new(id, title, Axis::share("threshold"), Axis::share("F1 on validation"))
        .describe(
            "F1 on validation over the threshold, one line for each seed; the dots are the thresholds used.",
        )
        .series(arms.iter().flat_map(of_arm))
}

/// Loss of fine-tuning: training dashed, validation thick, each seed's validation thin.
pub fn learning(arms: &[Runs<'_>], budget: &str) -> Plot {
    let of_arm = |runs: &Runs<'_>| {
        let of =
            |key: &str| -> Vec<Line> { runs.finetuned().map(|run| run.log.curve(key).to_vec()).collect() };
        let (training, validation) = (mean_at_steps(&of("train_loss_since_eval")), of("val_loss"));
        let (name, mean) = (runs.arm.name(), mean_at_steps(&validation));
        let training = Series::new(runs.colour, Shape::Dashed(training)).named(format!("{name}, training"));
        [vec![training], runs.series(format!("{name}, validation"), validation, mean)].concat()
    };
    let (id, title) = (format!("fine-tuning-{budget}"), format!("Loss of fine-tuning, {budget} labels"));
    Plot::new(id, title, Axis::steps(), Axis::values("nats per row"))
        .describe(
            "Loss in nats per row over optimizer steps: validation of each seed thin, its mean thick, the mean of \
             training since the evaluation before dashed.",
        )
        .series(arms.iter().flat_map(of_arm))
}

/// The mean of several lines at the steps that all of them have.
fn mean_at_steps(lines: &[Line]) -> Line {
    let Some((first, others)) = lines.split_first() else { return Vec::new() };
    let at = |&(step, value): &(f64, f64)| {
        let values = others.iter().map(|line| line.iter().find(|point| point.0 == step).map(|point| point.1));
        let sum: Option<f64> = values.sum();
        Some((step, (value + sum?) / lines.len() as f64))
    };
    first.iter().filter_map(at).collect()
}
