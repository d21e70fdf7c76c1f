//! The comparison, from the stored runs: scores over seeds, paired differences, label efficiency, costs.

use std::collections::BTreeMap;
use std::path::Path;

use super::cells::{Cell, CellResults};
use super::findings;
use super::leakage::{clean_rows, scores_of};
use crate::error::Result;
use crate::metrics::Scores;
use crate::metrics::calibration::Calibration;
use crate::metrics::course::Course;
use crate::metrics::decision::OperatingPoint;
use crate::metrics::efficiency::{LabelRatio, label_ratios};
use crate::metrics::paired::{Difference, McNemar, RESAMPLES, SeedScores, exact_binomial, holm};
use crate::metrics::scores::{HEADLINE_NAMES, Rows};
use crate::results::{
    Arm, AuditResults, ByBudget, CompareResults, Cost, OperatingMeans, PairedByBudget, Predictions,
    PretrainResults, RunMeans, Summary, Tables, TransferPoint, cell_folder,
};
use crate::run_dir::read_json;

/// What a comparison consists of.
pub struct Outline<'a> {
    /// Its directory.
    pub path: &'a Path,
    /// Seeds in order.
    pub seeds: &'a [u64],
    /// Budgets by rising number of labels, `all` last.
    pub budgets: &'a [String],
    /// Arms and baselines that were run.
    pub arms: &'a [Arm],
    /// The pre-training.
    pub pretrained: &'a Path,
    /// Settings tried on validation per arm and budget.
    pub settings_tried: usize,
    /// All arms train low-rank updates and the head alone.
    pub lora: bool,
    /// All of them train the head alone first, whatever validation would choose.
    pub head_first: bool,
    /// Scores of further pre-training checkpoints.
    pub transfer: Vec<TransferPoint>,
    /// What the audit found.
    pub audit: Option<AuditResults>,
    /// Seconds so far.
    pub wall_secs: f64,
}

/// All cells of one arm: by budget, then by seed.
type Cells = BTreeMap<Arm, Vec<Vec<Cell>>>;

/// Reads every run, scores them together, and says in words what they show.
///
/// Errors: a run that is missing, damaged or about other rows.
pub fn compare(outline: &Outline<'_>) -> Result<CompareResults> {
    let cells = read_cells(outline)?;
    let first = &cells[&outline.arms[0]][0][0];
    let (rows, positive) = (first.predictions.labels.len(), first.results.positive.clone());
    let clean = clean_rows(outline.audit.as_ref(), rows);
    let tables = tables(outline, &cells, &(0..rows).collect::<Vec<_>>());
    let clean_tables = clean.as_ref().map(|clean| self::tables(outline, &cells, clean));
    let mut results = CompareResults {
        phase: "compare".into(),
        seeds: outline.seeds.to_vec(),
        budgets: outline.budgets.to_vec(),
        positive,
        tables,
        clean: clean_tables,
        audit: outline.audit.clone(),
        costs: costs(outline, &cells),
        runs: run_means(&cells, outline.budgets),
        transfer: outline.transfer.clone(),
        verdict: crate::metrics::Verdict { fit: false, findings: Vec::new() },
        methods: methods(outline),
        wall_secs: outline.wall_secs,
    };
    let judged = judged(outline, &cells, clean.as_deref())?;
    results.verdict = findings::verdict(&results, &judged);
    let shadows = [(outline.lora, findings::LORA), (outline.head_first, findings::HEAD_FIRST)];
    for (_, shadow) in shadows.into_iter().filter(|(there, _)| *there) {
        results.verdict.findings.insert(1, shadow.into());
    }
    Ok(results)
}

/// Test scores of the pre-trained arm with the most labels, seed by seed; rows that leak do not make it fit.
fn judged(outline: &Outline<'_>, cells: &Cells, clean: Option<&[usize]>) -> Result<Vec<Scores>> {
    let pretrained = cells[&Arm::Pretrained].last();
    let scores = |cell: &Cell| {
        let CellResults { positive, test, .. } = &cell.results;
        match clean {
            None => Ok(test.clone()),
            Some(rows) => scores_of(&cell.predictions, rows, (positive, test.threshold), outline.seeds[0]),
        }
    };
    pretrained.into_iter().flatten().map(scores).collect()
}

fn read_cells(outline: &Outline<'_>) -> Result<Cells> {
    let mut cells = Cells::new();
    for &arm in outline.arms {
        for budget in outline.budgets {
            let mut by_seed: Vec<Cell> = Vec::new();
            for &seed in outline.seeds {
                let folder = outline.path.join(cell_folder(arm, budget, seed));
                let cell = Cell::read(&folder)?;
                let first = cells.values().flatten().flatten().next().or(by_seed.first());
                if let Some(first) = first {
                    cell.check_same_rows(first, &folder)?;
                }
                by_seed.push(cell);
            }
            cells.entry(arm).or_default().push(by_seed);
        }
    }
    Ok(cells)
}

/// Scores, differences and label ratios on the test rows `kept`.
fn tables(outline: &Outline<'_>, cells: &Cells, kept: &[usize]) -> Tables {
    let mut tables = Tables { test_rows: kept.len(), ..Tables::default() };
    let mut curves: BTreeMap<Arm, Vec<SeedScores>> = BTreeMap::new();
    for (at, budget) in outline.budgets.iter().enumerate() {
        let of_kept = |cells: &Vec<Vec<Cell>>| -> Vec<Predictions> {
            cells[at].iter().map(|cell| cell.predictions.only(kept)).collect()
        };
        let predictions: BTreeMap<Arm, Vec<Predictions>> =
            cells.iter().map(|(arm, cells)| (*arm, of_kept(cells))).collect();
        let rows: BTreeMap<Arm, Vec<Rows<'_>>> =
            predictions.iter().map(|(arm, runs)| (*arm, answered(runs, &cells[arm][at]))).collect();
        for (arm, runs) in &rows {
            // One seed of the resampling for all: that is what pairs arms and budgets.
            let scores = SeedScores::resample(runs, outline.seeds[0]);
            let table = if arm.is_baseline() { &mut tables.baselines } else { &mut tables.arms };
            let by_budget: &mut ByBudget = table.entry(arm.key().into()).or_default();
            by_budget.budgets.insert(budget.clone(), summaries(&scores));
            // The pre-trained arm is the first in the map.
            if let Some(pretrained) = curves.get(&Arm::Pretrained).and_then(|curve| curve.get(at)) {
                let found = differences((pretrained, &rows[&Arm::Pretrained]), (&scores, runs));
                let by_budget = tables.paired_with.entry(arm.key().into()).or_default();
                by_budget.budgets.insert(budget.clone(), found);
            }
            curves.entry(*arm).or_default().push(scores);
        }
    }
    tables.paired_with.values_mut().for_each(correct);
    tables.paired = tables.paired_with.remove(Arm::Scratch.key()).unwrap_or_default();
    tables.label_efficiency = label_efficiency(outline, cells, &curves);
    tables
}

/// Answers by the thresholds that stand in the results.
fn answered<'a>(runs: &'a [Predictions], cells: &[Cell]) -> Vec<Rows<'a>> {
    let of_run = |(run, cell): (&'a Predictions, &Cell)| {
        run.rows(run.label(&cell.results.positive), cell.results.test.threshold)
    };
    runs.iter().zip(cells).map(of_run).collect()
}

fn summaries(scores: &SeedScores) -> BTreeMap<String, Summary> {
    let summary = |name: &&str| {
        let values = scores.per_seed(name)?;
        Some((name.to_string(), Summary::of(values, scores.interval(name)?)))
    };
    HEADLINE_NAMES.iter().filter_map(summary).collect()
}

type Runs<'a> = (&'a SeedScores, &'a Vec<Rows<'a>>);

fn differences(first: Runs<'_>, second: Runs<'_>) -> BTreeMap<String, Difference> {
    let difference = |name: &&str| {
        let mut found = first.0.difference(second.0, name)?;
        if *name == "accuracy" {
            found.mcnemar = first.1.iter().zip(second.1).map(|(a, b)| McNemar::of(a, b)).collect();
        }
        Some((name.to_string(), found))
    };
    HEADLINE_NAMES.iter().filter_map(difference).collect()
}

/// Holm's correction of each score over the budgets.
fn correct(paired: &mut PairedByBudget) {
    for name in HEADLINE_NAMES {
        let mut tests: Vec<&mut Difference> =
            paired.budgets.values_mut().filter_map(|scores| scores.get_mut(name)).collect();
        let corrected = holm(&tests.iter().map(|test| test.p_value).collect::<Vec<_>>());
        tests.iter_mut().zip(corrected).for_each(|(test, p_value)| test.p_value_holm = p_value);
    }
}

fn label_efficiency(
    outline: &Outline<'_>,
    cells: &Cells,
    curves: &BTreeMap<Arm, Vec<SeedScores>>,
) -> Vec<LabelRatio> {
    let curve = |arm: Arm| curves.get(&arm).map(|curve| curve.iter().collect::<Vec<_>>());
    let (Some(first), Some(other)) = (curve(Arm::Pretrained), curve(Arm::Scratch)) else {
        return Vec::new();
    };
    let labels: Vec<f64> = cells[&Arm::Pretrained].iter().map(|runs| labels(runs)).collect();
    label_ratios(outline.budgets, &labels, &first, &other, "f1").unwrap_or_default()
}

fn labels(runs: &[Cell]) -> f64 {
    mean(runs.iter().map(|cell| cell.results.train_rows as f64))
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

fn costs(outline: &Outline<'_>, cells: &Cells) -> BTreeMap<String, BTreeMap<String, Cost>> {
    // A model from elsewhere has no record of what it cost.
    let pretraining = read_json::<PretrainResults>(outline.pretrained, "results.json").ok();
    let of_arm = |arm: Arm, runs: &Vec<Cell>| {
        let before = pretraining.as_ref().filter(|_| arm == Arm::Pretrained);
        Cost {
            labels: labels(runs),
            tokens: mean(runs.iter().map(|cell| cell.results.tokens as f64)),
            wall_secs: mean(runs.iter().map(|cell| cell.results.wall_secs)),
            pretraining_tokens: before.map_or(0.0, |results| results.tokens as f64),
            pretraining_secs: before.map_or(0.0, |results| results.wall_secs),
            settings_tried: if arm.is_baseline() { 0 } else { outline.settings_tried },
        }
    };
    let by_budget = |(arm, by_budget): (&Arm, &Vec<Vec<Cell>>)| {
        let costs = outline.budgets.iter().zip(by_budget);
        (arm.key().into(), costs.map(|(budget, runs)| (budget.clone(), of_arm(*arm, runs))).collect())
    };
    cells.iter().map(by_budget).collect()
}

fn run_means(cells: &Cells, budgets: &[String]) -> BTreeMap<String, BTreeMap<String, RunMeans>> {
    let mut found: BTreeMap<String, BTreeMap<String, RunMeans>> = BTreeMap::new();
    for (arm, by_budget) in cells {
        for (budget, runs) in budgets.iter().zip(by_budget) {
            if let Some(means) = RunMeans::of(runs) {
                found.entry(arm.key().into()).or_default().insert(budget.clone(), means);
            }
        }
    }
    found
}

impl RunMeans {
    /// None where a run, such as a baseline, has no course.
    fn of(runs: &[Cell]) -> Option<Self> {
        let courses: Option<Vec<_>> = runs.iter().map(|cell| cell.results.course.as_ref()).collect();
        let calibrations: Option<Vec<_>> =
            runs.iter().map(|cell| cell.results.calibration.as_ref()).collect();
        let (courses, calibrations) = (courses?, calibrations?);
        let of_courses = |value: fn(&Course) -> f64| mean(courses.iter().map(|course| value(course)));
        let of_calibrations = |value: fn(&Calibration) -> f64| mean(calibrations.iter().map(|c| value(c)));
        Some(Self {
            epochs: of_courses(|course| course.last.epoch),
            kept_epoch: of_courses(|course| course.kept.epoch),
            restored: courses.iter().filter(|course| course.restored).count(),
            train_loss: of_courses(|course| course.kept.train_loss),
            val_loss: of_courses(|course| course.kept.val_loss),
            last_gap: of_courses(|course| course.last.gap()),
            ece: of_calibrations(|calibration| calibration.ece),
            temperature: of_calibrations(|calibration| calibration.temperature),
            ece_tempered: of_calibrations(|calibration| calibration.ece_tempered),
            operating_points: operating_means(runs),
        })
    }
}

fn operating_means(runs: &[Cell]) -> Vec<OperatingMeans> {
    let rules = runs.iter().map(|cell| cell.results.operating_points.len()).min().unwrap_or(0);
    let means = |rule: usize| {
        let points: Vec<_> = runs.iter().map(|cell| &cell.results.operating_points[rule]).collect();
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

fn methods(outline: &Outline<'_>) -> Vec<String> {
    let (seeds, budgets) = (outline.seeds.len(), outline.budgets.len());
    let mut methods = vec![
        format!(
            "Intervals hold 95 % of {RESAMPLES} bootstrap resamples of the test rows and of the {seeds} seeds \
             (one seed fewer is drawn than there are, which keeps the variance right for few seeds)."
        ),
        "Differences are paired: both arms answer the same resampled rows with the same seeds. The p-value is \
         twice the share of resamples on the far side of zero."
            .into(),
        format!(
            "p-values of one score are corrected by Holm's method over the {budgets} label budgets; a \
             difference counts as shown when the corrected value is below 0.05."
        ),
        format!(
            "McNemar's test (exact) counts per seed the rows that one arm alone answers rightly. The sign \
             test over {seeds} seeds cannot go below p = {:.3}.",
            exact_binomial(seeds as u64, 0)
        ),
        "Thresholds are chosen on validation and applied once to test.".into(),
    ];
    if outline.lora {
        methods.push(
            "All arms train low-rank updates and the head alone (LoRA); the arm from scratch does so on random \
             weights that stay as they are."
                .into(),
        );
    }
    if outline.audit.as_ref().is_some_and(|audit| audit.dropped) {
        methods.push(
            "Test rows that stand, exactly or nearly, in training, validation or the text of the pre-training are left \
             out of every score, and such validation rows of every choice, for all arms and baselines alike."
                .into(),
        );
    }
    methods
}
