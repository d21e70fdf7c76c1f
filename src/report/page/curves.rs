//! Plots of one run: learning curves from its log, and what its predictions say at every threshold.

use std::path::Path;

use maud::{Markup, html};
use serde_json::Value;

use super::plot::{Axis, Plot, Series, Shape};
use crate::metrics::Scores;
use crate::metrics::calibration::Calibration;
use crate::metrics::curves::{cuts, pr_curve, roc_curve};
use crate::results::Predictions;

/// Events of `metrics.jsonl`; lines cut short by a crash are left out.
pub fn events(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path.join("metrics.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// (step, value) of all events that have the key.
pub fn points(events: &[Value], key: &str) -> Vec<(f64, f64)> {
    events.iter().filter_map(|event| Some((event["step"].as_f64()?, event[key].as_f64()?))).collect()
}

/// Training and validation loss over steps, with the step whose weights were kept.
pub fn losses(events: &[Value], best_step: u64, unit: &str) -> Plot {
    // A single batch says little where lengths and labels differ from batch to batch.
    let mean = points(events, "train_loss_since_eval");
    let (steps, mean) = if mean.len() > 1 {
        (points(events, "train_loss"), mean)
    } else {
        (Vec::new(), points(events, "train_loss"))
    };
    let series = vec![
        Series { name: None, colour: 1, shape: Shape::Thin(steps) },
        Series::line("training", 1, mean),
        Series::line("validation", 0, points(events, "val_loss")),
    ];
    Plot {
        id: "losses".into(),
        title: "Loss".into(),
        description: format!(
            "Training and validation loss in {unit} over optimizer steps, training as the mean since the evaluation before \
             (thin: single steps); the weights of step {best_step} were kept."
        ),
        x: Axis::steps(&series),
        y: Axis::over(unit, &series, |point| point.1),
        series,
        marks: vec![(best_step as f64, format!("kept: step {best_step}"))],
        level: None,
    }
}

/// One logged value over steps.
pub fn logged(events: &[Value], key: &str, title: &str, colour: usize) -> Plot {
    let series = vec![Series { name: None, colour, shape: Shape::Line(points(events, key)) }];
    Plot {
        id: key.replace('_', "-"),
        title: title.into(),
        description: format!("{title} over optimizer steps."),
        x: Axis::steps(&series),
        y: Axis::over(&title.to_lowercase(), &series, |point| point.1),
        series,
        marks: Vec::new(),
        level: None,
    }
}

/// Precision over recall on test, with the point of the frozen threshold.
pub fn precision_recall(runs: &[(String, usize, &Predictions, usize)], used: Option<&Scores>) -> Plot {
    let mut series: Vec<Series> = runs
        .iter()
        .map(|(name, colour, predictions, positive)| {
            let (positives, probabilities) = predictions.one_label(*positive);
            let curve = pr_curve(&positives, &probabilities);
            Series::line(name, *colour, curve.iter().map(|point| (point.recall, point.precision)).collect())
        })
        .collect();
    if let Some(scores) = used {
        let says = format!(
            "threshold {:.3}: precision {:.3}, recall {:.3}",
            scores.threshold.unwrap_or(0.5),
            scores.precision,
            scores.recall
        );
        let shape = Shape::Dots(vec![(scores.recall, scores.precision, says)]);
        series.push(Series { name: Some("at the threshold used".into()), colour: 1, shape });
    }
    Plot {
        id: "precision-recall".into(),
        title: "Precision and recall".into(),
        description: "Precision over recall on test, from the highest threshold to the lowest.".into(),
        x: Axis::share("recall"),
        y: Axis::share("precision"),
        series,
        marks: Vec::new(),
        level: None,
    }
}

/// True over false positive rate on test.
pub fn roc(runs: &[(String, usize, &Predictions, usize)]) -> Plot {
    let curve = |(name, colour, predictions, positive): &(String, usize, &Predictions, usize)| {
        let (positives, probabilities) = predictions.one_label(*positive);
        let curve = roc_curve(&positives, &probabilities);
        let points = curve.iter().map(|point| (point.false_positive_rate, point.true_positive_rate));
        Series::line(name, *colour, points.collect())
    };
    let mut series: Vec<Series> = runs.iter().map(curve).collect();
    series.push(Series::dashed("chance", 6, vec![(0.0, 0.0), (1.0, 1.0)]));
    Plot {
        id: "roc".into(),
        title: "ROC".into(),
        description: "Share of positive rows found over share of negative rows called positive, on test."
            .into(),
        x: Axis::share("false positive rate"),
        y: Axis::share("true positive rate"),
        series,
        marks: Vec::new(),
        level: None,
    }
}

/// Precision, recall and F1 on validation at every threshold, and the one that was chosen.
pub fn thresholds(validation: &Predictions, positive: usize, used: f64) -> Plot {
    let (positives, probabilities) = validation.one_label(positive);
    let cuts = cuts(&positives, &probabilities);
    let line = |of: fn(&crate::metrics::ClassScores) -> f64| -> Vec<(f64, f64)> {
        cuts.iter().rev().map(|cut| (cut.threshold, of(&cut.counts.scores()))).collect()
    };
    let series = vec![
        Series::line("precision", 0, line(|scores| scores.precision)),
        Series::dashed("recall", 1, line(|scores| scores.recall)),
        Series::line("F1", 3, line(|scores| scores.f1)),
    ];
    Plot {
        id: "thresholds".into(),
        title: "Choice of the threshold".into(),
        description: format!("Precision, recall and F1 on validation over the threshold; {used:.3} is used."),
        // A model trained briefly has all its probabilities close together.
        x: Axis::over("threshold", &series, |point| point.0),
        y: Axis::share("score on validation"),
        series,
        marks: vec![(used, format!("{used:.3}"))],
        level: None,
    }
}

/// Observed share over predicted probability, as it is and after the temperature.
pub fn reliability(found: &Calibration, positive: &str) -> Plot {
    let bins = |bins: &[crate::metrics::calibration::ReliabilityBin]| -> Vec<(f64, f64)> {
        bins.iter().map(|bin| (bin.predicted, bin.observed)).collect()
    };
    let says = |bin: &crate::metrics::calibration::ReliabilityBin| {
        let words =
            format!("{} rows: predicted {:.3}, observed {:.3}", bin.rows, bin.predicted, bin.observed);
        (bin.predicted, bin.observed, words)
    };
    Plot {
        id: "reliability".into(),
        title: format!("Can the probabilities of {positive} be believed?"),
        description: format!(
            "Observed share of positive rows over predicted probability on test. Calibration error {:.3}, after a \
             temperature of {:.2} {:.3}.",
            found.ece, found.temperature, found.ece_tempered
        ),
        x: Axis::share("predicted probability"),
        y: Axis::share("observed share"),
        series: vec![
            Series::dashed("perfect", 6, vec![(0.0, 0.0), (1.0, 1.0)]),
            Series::line("as it is", 0, bins(&found.reliability)),
            Series {
                name: None,
                colour: 0,
                shape: Shape::Dots(found.reliability.iter().map(says).collect()),
            },
            Series {
                name: None,
                colour: 3,
                shape: Shape::Dots(found.reliability_tempered.iter().map(says).collect()),
            },
            Series::line(
                &format!("with temperature {:.2}", found.temperature),
                3,
                bins(&found.reliability_tempered),
            ),
        ],
        marks: Vec::new(),
        level: None,
    }
}

/// Labels up to this many stand above their columns; more are numbered there, since their names would run into
/// each other.
const NAMED_COLUMNS: usize = 4;

/// Rows by true label, columns by called label, shaded by share of the row. `counts` may be means over runs.
pub fn confusion(title: &str, names: &[&str], counts: &[Vec<f64>]) -> Markup {
    let side = 300.0 / names.len() as f64;
    let numbered = names.len() > NAMED_COLUMNS;
    let short = |name: &str, most: usize| -> String {
        if name.chars().count() > most {
            name.chars().take(most - 1).chain(['…']).collect()
        } else {
            name.into()
        }
    };
    let row_name = |at: usize| match numbered {
        true => format!("{} {}", short(names[at], 8), at + 1),
        false => short(names[at], 11),
    };
    let column_name = |at: usize| if numbered { (at + 1).to_string() } else { short(names[at], 11) };
    // Means over runs have one decimal, unless all are whole.
    let whole = counts.iter().flatten().all(|count| count.fract() == 0.0);
    let number = |count: f64| if whole { format!("{count:.0}") } else { format!("{count:.1}") };
    let words = counts.iter().zip(names).map(|(row, truth)| {
        let called = row.iter().zip(names).map(|(count, name)| format!("{} called {name}", number(*count)));
        format!("Of {truth}: {}.", called.collect::<Vec<_>>().join(", "))
    });
    let words: Vec<String> = words.collect();
    let id = title.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    html! {
        figure id=(id) {
            figcaption { (title) }
            svg viewBox=(format!("0 0 400 {}", 300.0 * 0.72 + 54.0)) role="img" aria-labelledby=(format!("{id}-title {id}-text")) {
                title id=(format!("{id}-title")) { (title) }
                desc id=(format!("{id}-text")) { (words.join(" ")) }
                @for (r, row) in counts.iter().enumerate() {
                    @let height = side * 0.72;
                    @let y = 24.0 + r as f64 * height;
                    text x="86" y=(format!("{:.1}", y + height / 2.0 + 4.0)) text-anchor="end" { (row_name(r)) }
                    @for (c, count) in row.iter().enumerate() {
                        @let x = 92.0 + c as f64 * side;
                        @let share = count / row.iter().sum::<f64>().max(f64::MIN_POSITIVE);
                        rect class=(if r == c { "cell c3" } else { "cell c1" }) x=(format!("{x:.1}")) y=(format!("{y:.1}"))
                            width=(format!("{:.1}", side - 3.0)) height=(format!("{:.1}", height - 3.0)) rx="3"
                            opacity=(format!("{:.2}", 0.07 + 0.4 * share)) {}
                        text class="value" x=(format!("{:.1}", x + side / 2.0)) y=(format!("{:.1}", y + height / 2.0 + 4.0))
                            text-anchor="middle" { (number(*count)) }
                    }
                }
                @for c in 0..names.len() {
                    text x=(format!("{:.1}", 92.0 + (c as f64 + 0.5) * side)) y="16" text-anchor="middle" { (column_name(c)) }
                }
                text class="name" x="242" y=(format!("{:.1}", 300.0 * 0.72 + 44.0)) text-anchor="middle" { "called (columns), true (rows)" }
            }
        }
    }
}
