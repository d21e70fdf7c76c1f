//! How the runs of an arm and budget went, as means over seeds.

use std::collections::BTreeMap;

use crate::metrics::calibration::Calibration;
use crate::metrics::decision::OperatingPoint;
use crate::metrics::learning::LearningCurve;
use crate::metrics::stats::mean;
use crate::results::{Cells, FinetuneResults, Finetuned, OperatingMeans, TrainingMeans};

/// Arm to budget to its means; baselines have none.
pub fn means(cells: &Cells, budgets: &[String]) -> BTreeMap<String, BTreeMap<String, TrainingMeans>> {
    let mut found: BTreeMap<String, BTreeMap<String, TrainingMeans>> = BTreeMap::new();
    for arm in cells.arms() {
        for budget in budgets {
            let runs: Vec<&FinetuneResults> =
                cells.finetuned(arm, budget).into_iter().map(|run: &Finetuned| &run.results).collect();
            if let Some(means) = training_means(&runs) {
                found.entry(arm.key()).or_default().insert(budget.clone(), means);
            }
        }
    }
    found
}

/// None without runs, and where one has no learning curve.
fn training_means(runs: &[&FinetuneResults]) -> Option<TrainingMeans> {
    let curves: Option<Vec<_>> = runs.iter().map(|run| run.learning.as_ref()).collect();
    let calibrations: Option<Vec<_>> = runs.iter().map(|run| run.scores.calibration.as_ref()).collect();
    let (curves, calibrations) = (curves.filter(|curves| !curves.is_empty())?, calibrations?);
    let of_curves = |value: fn(&LearningCurve) -> f64| mean(curves.iter().map(|curve| value(curve)));
    let of_calibrations = |value: fn(&Calibration) -> f64| mean(calibrations.iter().map(|c| value(c)));
    Some(TrainingMeans {
        runs: runs.len(),
        epochs: of_curves(|curve| curve.last.epoch),
        best_epoch: of_curves(|curve| curve.best.epoch),
        restored: curves.iter().filter(|curve| curve.restored).count(),
        train_loss: of_curves(|curve| curve.best.train_loss),
        val_loss: of_curves(|curve| curve.best.val_loss),
        last_gap: of_curves(|curve| curve.last.gap()),
        ece: of_calibrations(|calibration| calibration.ece),
        temperature: of_calibrations(|calibration| calibration.temperature),
        ece_tempered: of_calibrations(|calibration| calibration.ece_tempered),
        operating_points: operating_means(runs),
    })
}

fn operating_means(runs: &[&FinetuneResults]) -> Vec<OperatingMeans> {
    let rules = runs.iter().map(|run| run.scores.operating_points.len()).min().unwrap_or(0);
    let means = |rule: usize| {
        let points: Vec<_> = runs.iter().map(|run| &run.scores.operating_points[rule]).collect();
        let of = |value: fn(&OperatingPoint) -> f64| mean(points.iter().map(|point| value(point)));
        OperatingMeans {
            rule: points[0].rule.clone(),
            chosen: points[0].chosen,
            met: points.iter().filter(|point| point.met).count(),
            threshold: of(|point| point.threshold),
            precision: of(|point| point.test.precision),
            recall: of(|point| point.test.recall),
            f1: of(|point| point.test.f1),
            false_alarms: of(|point| point.test.counts.fp as f64),
            missed: of(|point| point.test.counts.r#fn as f64),
        }
    };
    (0..rules).map(means).collect()
}
