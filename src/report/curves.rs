//! Plots of one run: learning curves from its log, and what its predictions say at every threshold.

use super::axis::Axis;
use super::plot::{Plot, Series, Shape};
use crate::metrics::calibration::{Calibration, ReliabilityBin};
use crate::metrics::curves::{cuts, pr_curve, roc_curve};
use crate::metrics::{ClassScores, Scores};
use crate::results::{Log, Predictions};

/// A label whose curves are drawn, against all others.
pub struct LabelCurve<'a> {
    /// In the legend.
    pub name: String,
    /// Number of its colour.
    pub colour: usize,
    /// Answers to the test rows.
    pub answers: &'a Predictions,
    /// Number of the label.
    pub label: usize,
}

/// The line of chance or of perfect calibration.
pub fn diagonal(name: &str) -> Series {
    Series::new(6, Shape::Dashed(vec![(0.0, 0.0), (1.0, 1.0)])).named(name)
}

/// Training and validation loss over steps, with the step of the best weights.
pub fn losses(log: &Log, best_step: u64, unit: &str) -> Plot {
    // A single batch says little where lengths and labels differ from batch to batch.
    let (steps, mean) = match log.curve("train_loss_since_eval") {
        mean if mean.len() > 1 => (log.curve("train_loss"), mean),
        _ => (&[][..], log.curve("train_loss")),
    };
    let description = format!(
        "Training and validation loss in {unit} over optimizer steps, training as the mean since the evaluation before \
         (thin: single steps); the model has the weights of step {best_step}."
    );
    Plot::new("losses", "Loss", Axis::steps(), Axis::values(unit))
        .describe(description)
        .series([
            Series::new(1, Shape::Thin(steps.to_vec())),
            Series::new(1, Shape::Line(mean.to_vec())).named("training"),
            Series::new(0, Shape::Line(log.curve("val_loss").to_vec())).named("validation"),
        ])
        .mark(best_step as f64, format!("best: step {best_step}"))
}

/// One logged value over steps.
pub fn logged(log: &Log, key: &str, title: &str, colour: usize) -> Plot {
    Plot::new(key.replace('_', "-"), title, Axis::steps(), Axis::values(&title.to_lowercase()))
        .describe(format!("{title} over optimizer steps."))
        .series([Series::new(colour, Shape::Line(log.curve(key).to_vec()))])
}

/// Precision over recall on test, with the point of the frozen threshold.
pub fn precision_recall(labels: &[LabelCurve<'_>], used: Option<&Scores>) -> Plot {
    let curve = |of: &LabelCurve<'_>| {
        let (positives, probabilities) = of.answers.one_label(of.label);
        let points = pr_curve(&positives, &probabilities);
        let line = points.iter().map(|point| (point.recall, point.precision)).collect();
        Series::new(of.colour, Shape::Line(line)).named(&of.name)
    };
    let point = |scores: &Scores| {
        let threshold = scores.threshold.unwrap_or(0.5);
        let (precision, recall) = (scores.precision, scores.recall);
        let says = format!("threshold {threshold:.3}: precision {precision:.3}, recall {recall:.3}");
        Series::new(1, Shape::Dots(vec![(recall, precision, says)])).named("at the threshold used")
    };
    Plot::new("precision-recall", "Precision and recall", Axis::share("recall"), Axis::share("precision"))
        .describe("Precision over recall on test, from the highest threshold to the lowest.")
        .series(labels.iter().map(curve))
        .series(used.map(point))
}

/// True over false positive rate on test.
pub fn roc(labels: &[LabelCurve<'_>]) -> Plot {
    let curve = |of: &LabelCurve<'_>| {
        let (positives, probabilities) = of.answers.one_label(of.label);
        let points = roc_curve(&positives, &probabilities);
        let line = points.iter().map(|point| (point.false_positive_rate, point.true_positive_rate)).collect();
        Series::new(of.colour, Shape::Line(line)).named(&of.name)
    };
    Plot::new("roc", "ROC", Axis::share("false positive rate"), Axis::share("true positive rate"))
        .describe("Share of positive rows found over share of negative rows predicted as positive, on test.")
        .series(labels.iter().map(curve))
        .series([diagonal("chance")])
}

/// Precision, recall and F1 on validation at every threshold, and the one that was chosen.
pub fn thresholds(validation: &Predictions, positive: usize, used: f64) -> Plot {
    let (positives, probabilities) = validation.one_label(positive);
    let cuts = cuts(&positives, &probabilities);
    let line = |of: fn(&ClassScores) -> f64| -> Vec<(f64, f64)> {
        cuts.iter().rev().map(|cut| (cut.threshold, of(&cut.counts.scores()))).collect()
    };
    // A model trained briefly has all its probabilities close together.
    Plot::new(
        "thresholds",
        "Choice of the threshold",
        Axis::values("threshold"),
        Axis::share("score on validation"),
    )
    .describe(format!("Precision, recall and F1 on validation over the threshold; {used:.3} is used."))
    .series([
        Series::new(0, Shape::Line(line(|scores| scores.precision))).named("precision"),
        Series::new(1, Shape::Dashed(line(|scores| scores.recall))).named("recall"),
        Series::new(3, Shape::Line(line(|scores| scores.f1))).named("F1"),
    ])
    .mark(used, format!("{used:.3}"))
}

/// Observed share over predicted probability, as it is and after the temperature.
pub fn reliability(found: &Calibration, positive: &str) -> Plot {
    let line = |bins: &[ReliabilityBin]| bins.iter().map(|bin| (bin.predicted, bin.observed)).collect();
    let says = |bin: &ReliabilityBin| {
        let words =
            format!("{} rows: predicted {:.3}, observed {:.3}", bin.rows, bin.predicted, bin.observed);
        (bin.predicted, bin.observed, words)
    };
    let dots = |bins: &[ReliabilityBin]| bins.iter().map(says).collect();
    let (title, tempered) =
        (format!("Can the probabilities of {positive} be believed?"), &found.reliability_tempered);
    Plot::new("reliability", title, Axis::share("predicted probability"), Axis::share("observed share"))
        .describe(format!(
            "Observed share of positive rows over predicted probability on test. Calibration error {:.3}, after a \
             temperature of {:.2} {:.3}.",
            found.ece, found.temperature, found.ece_tempered
        ))
        .series([
            diagonal("perfect"),
            Series::new(0, Shape::Line(line(&found.reliability))).named("as it is"),
            Series::new(0, Shape::Dots(dots(&found.reliability))),
            Series::new(3, Shape::Dots(dots(tempered))),
            Series::new(3, Shape::Line(line(tempered))).named(format!("with temperature {:.2}", found.temperature)),
        ])
}
