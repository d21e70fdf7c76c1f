//! Curves of an arm with several seeds: each seed as a thin line, their mean as a thick one.

use serde_json::Value;

use super::curves::points;
use super::plot::{Axis, Plot, Series, Shape};
use crate::metrics::calibration::{calibration_error, reliability as bins};
use crate::metrics::curves::{cuts, pr_curve, precision_at, roc_curve, true_positive_rate_at};
use crate::results::Arm;
use crate::results::Cell;
use crate::results::Predictions;

/// Places between 0 and 1 at which the mean of curves is taken.
const PLACES: usize = 100;

/// The runs of one arm at one budget, one per seed.
#[derive(Clone)]
pub struct Runs<'a> {
    /// Which arm.
    pub arm: Arm,
    /// Number of its colour.
    pub colour: usize,
    /// What they said about the test rows.
    pub cells: &'a [Cell],
    /// About the validation rows; empty for baselines.
    pub validation: Vec<Predictions>,
    /// Their logs; empty for baselines.
    pub logs: Vec<Vec<Value>>,
}

type Line = Vec<(f64, f64)>;

impl Runs<'_> {
    /// Whether each row is positive, and its probability.
    fn scored(&self, said: &Predictions) -> (Vec<bool>, Vec<f64>) {
        said.one_label(said.label(self.cells[0].positive()))
    }

    fn name(&self) -> String {
        match self.cells.len() {
            1 => self.arm.name().into(),
            seeds => format!("{}, mean of {seeds} seeds", self.arm.name()),
        }
    }

    /// Thin lines and their mean.
    fn series(&self, name: String, lines: Vec<Line>, mean: Line) -> Vec<Series> {
        let colour = self.colour;
        let thin = |line: Line| Series { name: None, colour, shape: Shape::Thin(line) };
        let mut series: Vec<Series> =
            if lines.len() > 1 { lines.into_iter().map(thin).collect() } else { Vec::new() };
        series.push(Series { name: Some(name), colour, shape: Shape::Line(mean) });
        series
    }
}

/// The mean of `value` over the runs at each place from 0 to 1.
fn mean_over<T>(curves: &[T], value: impl Fn(&T, f64) -> f64) -> Line {
    let at = |place: usize| {
        let x = place as f64 / PLACES as f64;
        (x, curves.iter().map(|curve| value(curve, x)).sum::<f64>() / curves.len() as f64)
    };
    if curves.is_empty() { Vec::new() } else { (0..=PLACES).map(at).collect() }
}

/// Precision over recall on test; the mean is taken over seeds at each recall.
pub fn precision_recall(arms: &[Runs<'_>], budget: &str) -> Plot {
    let mut series = Vec::new();
    for runs in arms {
        let curves: Vec<_> = runs.cells.iter().map(|cell| runs.scored(cell.predictions())).collect();
        let curves: Vec<_> = curves.iter().map(|(p, s)| pr_curve(p, s)).filter(|c| !c.is_empty()).collect();
        let lines = curves.iter().map(|c| c.iter().map(|point| (point.recall, point.precision)).collect());
        series.extend(runs.series(
            runs.name(),
            lines.collect(),
            mean_over(&curves, |c, x| precision_at(c, x)),
        ));
    }
    Plot {
        id: format!("precision-recall-{budget}"),
        title: format!("Precision and recall, {budget} labels"),
        description: "Precision over recall on test: thin lines for each seed, thick ones for the mean precision at each \
                      recall."
            .into(),
        x: Axis::share("recall"),
        y: Axis::share("precision"),
        series,
        marks: Vec::new(),
        level: None,
    }
}

/// True over false positive rate on test; the mean is taken over seeds at each false positive rate.
pub fn roc(arms: &[Runs<'_>], budget: &str) -> Plot {
    let mut series = vec![Series::dashed("chance", 6, vec![(0.0, 0.0), (1.0, 1.0)])];
    for runs in arms {
        let curves: Vec<_> = runs.cells.iter().map(|cell| runs.scored(cell.predictions())).collect();
        let curves: Vec<_> = curves.iter().map(|(p, s)| roc_curve(p, s)).filter(|c| !c.is_empty()).collect();
        let line = |c: &Vec<crate::metrics::curves::RocPoint>| {
            c.iter().map(|point| (point.false_positive_rate, point.true_positive_rate)).collect()
        };
        let lines = curves.iter().map(line).collect();
        series.extend(runs.series(
            runs.name(),
            lines,
            mean_over(&curves, |c, x| true_positive_rate_at(c, x)),
        ));
    }
    Plot {
        id: format!("roc-{budget}"),
        title: format!("ROC, {budget} labels"),
        description: "Share of positive rows found over share of negative rows called positive, on test: thin lines for each \
                      seed, thick ones for the mean at each false positive rate."
            .into(),
        x: Axis::share("false positive rate"),
        y: Axis::share("true positive rate"),
        series,
        marks: Vec::new(),
        level: None,
    }
}

/// Observed share over predicted probability on test, the rows of all seeds pooled.
pub fn reliability(arms: &[Runs<'_>], budget: &str) -> Plot {
    let mut series = vec![Series::dashed("perfect", 6, vec![(0.0, 0.0), (1.0, 1.0)])];
    for runs in arms {
        let positive = runs.cells[0].predictions().label(runs.cells[0].positive());
        let line = |labels: &[u32], probabilities: &[Vec<f64>]| -> Line {
            let bins = bins((labels, probabilities), positive);
            bins.iter().map(|bin| (bin.predicted, bin.observed)).collect()
        };
        let said: Vec<&Predictions> = runs.cells.iter().map(|cell| cell.predictions()).collect();
        let lines = said.iter().map(|said| line(&said.labels, &said.probabilities)).collect();
        let labels: Vec<u32> = said.iter().flat_map(|said| said.labels.iter().copied()).collect();
        let probabilities: Vec<Vec<f64>> =
            said.iter().flat_map(|said| said.probabilities.iter().cloned()).collect();
        let errors = said.iter().map(|said| calibration_error((&said.labels, &said.probabilities)));
        let error = errors.sum::<f64>() / said.len() as f64;
        let name = format!("{}, calibration error {error:.3}", runs.arm.name());
        series.extend(runs.series(name, lines, line(&labels, &probabilities)));
    }
    Plot {
        id: format!("reliability-{budget}"),
        title: format!("Can the probabilities be believed? {budget} labels"),
        description: "Observed share of positive rows over predicted probability on test: thin lines for each seed, thick ones \
                      for the rows of all seeds together; the calibration error is the mean over seeds."
            .into(),
        x: Axis::share("predicted probability"),
        y: Axis::share("observed share"),
        series,
        marks: Vec::new(),
        level: None,
    }
}

/// F1 on validation at every threshold, seed by seed, with the threshold each seed uses.
pub fn thresholds(arms: &[Runs<'_>], budget: &str) -> Plot {
    let mut series = Vec::new();
    for runs in arms.iter().filter(|runs| !runs.validation.is_empty()) {
        let mut used = Vec::new();
        let colour = runs.colour;
        for (said, cell) in runs.validation.iter().zip(runs.cells) {
            let (positives, probabilities) = runs.scored(said);
            let cuts = cuts(&positives, &probabilities);
            let f1 = cuts.iter().rev().map(|cut| (cut.threshold, cut.counts.scores().f1)).collect();
            series.push(Series { name: None, colour, shape: Shape::Thin(f1) });
            let Some(threshold) = cell.test().threshold else { continue };
            let at = cuts.iter().rfind(|cut| cut.threshold >= threshold).or(cuts.first());
            used.extend(at.map(|cut| {
                let f1 = cut.counts.scores().f1;
                (
                    threshold,
                    f1,
                    format!("{}: threshold {threshold:.3}, F1 {f1:.3} on validation", runs.arm.name()),
                )
            }));
        }
        series.push(Series {
            name: Some(format!("{}, used", runs.arm.name())),
            colour,
            shape: Shape::Dots(used),
        });
    }
    Plot {
        id: format!("thresholds-{budget}"),
        title: format!("Choice of the thresholds, {budget} labels"),
        description:
            "F1 on validation over the threshold, one line for each seed; the dots are the thresholds used."
                .into(),
        x: Axis::share("threshold"),
        y: Axis::share("F1 on validation"),
        series,
        marks: Vec::new(),
        level: None,
    }
}

/// Loss of fine-tuning: training dashed, validation thick, each seed's validation thin.
pub fn learning(arms: &[Runs<'_>], budget: &str) -> Plot {
    let mut series = Vec::new();
    for runs in arms.iter().filter(|runs| !runs.logs.is_empty()) {
        let of = |key: &str| -> Vec<Line> { runs.logs.iter().map(|log| points(log, key)).collect() };
        let (training, validation) = (mean_at_steps(&of("train_loss_since_eval")), of("val_loss"));
        let name = runs.arm.name();
        series.push(Series::dashed(&format!("{name}, training"), runs.colour, training));
        let mean = mean_at_steps(&validation);
        series.extend(runs.series(format!("{name}, validation"), validation, mean));
    }
    Plot {
        id: format!("fine-tuning-{budget}"),
        title: format!("Loss of fine-tuning, {budget} labels"),
        description: "Loss in nats per row over optimizer steps: validation of each seed thin, its mean thick, the mean of \
                      training since the evaluation before dashed."
            .into(),
        x: Axis::steps(&series),
        y: Axis::over("nats per row", &series, |point| point.1),
        series,
        marks: Vec::new(),
        level: None,
    }
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
