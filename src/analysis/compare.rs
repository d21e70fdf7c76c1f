//! The comparison, from its runs: scores over seeds, paired differences, label efficiency, costs.

use std::collections::BTreeMap;

use super::findings::counted;
use super::{curves, findings};
use crate::baseline::SETTINGS_TRIED;
use crate::error::Result;
use crate::metrics::efficiency::{LabelRatio, label_ratios};
use crate::metrics::paired::{Difference, McNemar, RESAMPLES, SeedScores, exact_binomial, holm};
use crate::metrics::scores::{HEADLINE_NAMES, NUM_HEADLINE, Rows};
use crate::metrics::{Scores, Verdict, stats};
use crate::results::{
    Arm, ArmScores, AuditResults, Cell, Cells, CompareResults, Cost, PairedByBudget, Predictions,
    PretrainResults, Summary, TransferPoint,
};

/// What a comparison consists of, beside its runs.
pub struct ComparisonSpec<'a> {
    /// Seeds in order.
    pub seeds: &'a [u64],
    /// Folds that each seed draws; 0 for none.
    pub folds: usize,
    /// Differences in F1 within it count as none.
    pub margin: f64,
    /// Budgets by rising number of labels, `all` last.
    pub budgets: &'a [String],
    /// The pre-training of an arm; a model from elsewhere has no record of it.
    pub pretrainings: &'a BTreeMap<Arm, PretrainResults>,
    /// Settings tried on validation per arm and budget.
    pub settings_tried: usize,
    /// All arms train low-rank updates and the head alone.
    pub lora: bool,
    /// Whether length or rates of the fine-tunings follow from the data.
    pub open_settings: bool,
    /// All of them train the head alone first, whatever validation would choose.
    pub head_first: bool,
    /// Scores of further pre-training checkpoints.
    pub transfer: Vec<TransferPoint>,
    /// What the audit found.
    pub audit: Option<AuditResults>,
    /// Seconds so far.
    pub wall_secs: f64,
}

/// Scores all runs together and says in words what they show.
///
/// Errors: answers that cannot be scored.
pub fn compare(spec: &ComparisonSpec<'_>, cells: &Cells) -> Result<CompareResults> {
    let first = &cells.of(Arm::Pretrained, &spec.budgets[0])[0];
    let rows = first.predictions().labels.len();
    let clean = spec.audit.as_ref().and_then(|audit| audit.clean_rows(rows));
    let mut results = CompareResults {
        phase: "compare".into(),
        seeds: spec.seeds.to_vec(),
        folds: spec.folds,
        equivalence_margin: spec.margin,
        budgets: spec.budgets.to_vec(),
        positive: first.test().threshold.map(|_| first.positive().into()).unwrap_or_default(),
        scores: scores(spec, cells, &(0..rows).collect::<Vec<_>>()),
        clean: clean.as_ref().map(|clean| scores(spec, cells, clean)),
        audit: spec.audit.clone(),
        costs: costs(spec, cells),
        runs: curves::means(cells, spec.budgets),
        transfer: spec.transfer.clone(),
        verdict: Verdict { fit: false, findings: Vec::new() },
        methods: methods(spec),
        wall_secs: spec.wall_secs,
    };
    results.verdict = findings::verdict(&results, &judged(spec, cells, clean.as_deref()));
    let shadows = [(spec.lora, findings::LORA), (spec.head_first, findings::HEAD_FIRST)];
    for (_, shadow) in shadows.into_iter().filter(|(there, _)| *there) {
        results.verdict.findings.insert(1, shadow.into());
    }
    Ok(results)
}

/// Test scores of the pre-trained arm with the most labels, seed by seed; rows that leak do not make it fit.
fn judged(spec: &ComparisonSpec<'_>, cells: &Cells, clean: Option<&[usize]>) -> Vec<Scores> {
    let most = spec.budgets.last().map_or(&[][..], |budget| cells.of(Arm::Pretrained, budget));
    let scores =
        |cell: &Cell| clean.map_or_else(|| cell.test().clone(), |rows| cell.scores_of(rows, spec.seeds[0]));
    most.iter().map(scores).collect()
}

/// Scores, differences and label ratios on the test rows `kept`.
fn scores(spec: &ComparisonSpec<'_>, cells: &Cells, kept: &[usize]) -> ArmScores {
    let mut found = ArmScores { test_rows: kept.len(), ..ArmScores::default() };
    let mut curves: BTreeMap<Arm, Vec<SeedScores>> = BTreeMap::new();
    for (at, budget) in spec.budgets.iter().enumerate() {
        let of_kept = |arm: Arm| -> (Arm, Vec<Predictions>) {
            (arm, cells.of(arm, budget).iter().map(|cell| cell.predictions().only(kept)).collect())
        };
        let predictions: BTreeMap<Arm, Vec<Predictions>> = cells.arms().map(of_kept).collect();
        let rows: BTreeMap<Arm, Vec<Rows<'_>>> = predictions
            .iter()
            .map(|(arm, runs)| (*arm, answered(runs, cells.of(*arm, budget), kept)))
            .collect();
        for (arm, runs) in &rows {
            // One seed of the resampling for all: that is what pairs arms and budgets.
            let scores = SeedScores::resample(runs, spec.seeds[0]);
            let of_arm = cells.of(*arm, budget);
            let is_whole = of_arm.first().is_some_and(|cell| cell.predictions().labels.len() == kept.len());
            let scores = match spec.folds {
                folds if folds > 0 && is_whole => scores.on_folds(on_folds(of_arm), folds),
                _ => scores,
            };
            let table = if arm.is_baseline() { &mut found.baselines } else { &mut found.arms };
            table.entry(arm.key()).or_default().budgets.insert(budget.clone(), summaries(&scores));
            // Models to start from are the first in the map.
            for (start, curve) in curves.iter().filter(|(start, _)| start.is_start()) {
                let Some(of_start) = curve.get(at) else { continue };
                let differences = differences((of_start, &rows[start]), (&scores, runs), spec.margin);
                let paired = match start {
                    Arm::Pretrained => &mut found.paired_with,
                    _ => found.starts_paired_with.entry(start.key()).or_default(),
                };
                paired.entry(arm.key()).or_default().budgets.insert(budget.clone(), differences);
            }
            curves.entry(*arm).or_default().push(scores);
        }
    }
    let of_starts = found.starts_paired_with.values_mut().flat_map(BTreeMap::values_mut);
    found.paired_with.values_mut().chain(of_starts).for_each(correct);
    found.paired = found.paired_with.remove(&Arm::Scratch.key()).unwrap_or_default();
    found.label_efficiency = label_efficiency(spec, cells, &curves);
    found
}

/// Answers by the thresholds of the runs; `answers` are those to the rows `kept`.
fn answered<'a>(answers: &'a [Predictions], cells: &[Cell], kept: &[usize]) -> Vec<Rows<'a>> {
    answers.iter().zip(cells).map(|(answers, cell)| cell.rows_of(answers, kept)).collect()
}

/// Scores on every fold of every seed.
fn on_folds(cells: &[Cell]) -> Vec<[Option<f64>; NUM_HEADLINE]> {
    cells.iter().flat_map(|cell| &cell.runs).map(|run| run.rows().scores()).collect()
}

fn summaries(scores: &SeedScores) -> BTreeMap<String, Summary> {
    let summary = |name: &&str| {
        let values = scores.per_seed(name)?;
        Some((name.to_string(), Summary::of(values, scores.interval(name)?)))
    };
    HEADLINE_NAMES.iter().filter_map(summary).collect()
}

type Runs<'a> = (&'a SeedScores, &'a Vec<Rows<'a>>);

fn differences(first: Runs<'_>, second: Runs<'_>, margin: f64) -> BTreeMap<String, Difference> {
    let difference = |name: &&str| {
        let mut found = first.0.difference(second.0, name, margin)?;
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
        let corrected = holm(&tests.iter().map(|test| test.equivalence_p_value).collect::<Vec<_>>());
        tests.iter_mut().zip(corrected).for_each(|(test, p_value)| test.equivalence_p_value_holm = p_value);
    }
}

fn label_efficiency(
    spec: &ComparisonSpec<'_>,
    cells: &Cells,
    curves: &BTreeMap<Arm, Vec<SeedScores>>,
) -> Vec<LabelRatio> {
    let curve = |arm: Arm| curves.get(&arm).map(|curve| curve.iter().collect::<Vec<_>>());
    let (Some(first), Some(other)) = (curve(Arm::Pretrained), curve(Arm::Scratch)) else {
        return Vec::new();
    };
    let labels: Vec<f64> =
        spec.budgets.iter().map(|budget| labels(cells.of(Arm::Pretrained, budget))).collect();
    label_ratios(spec.budgets, &labels, &first, &other, "f1").unwrap_or_default()
}

fn labels(runs: &[Cell]) -> f64 {
    stats::mean(runs.iter().map(Cell::train_rows))
}

fn costs(spec: &ComparisonSpec<'_>, cells: &Cells) -> BTreeMap<String, BTreeMap<String, Cost>> {
    let of_arm = |arm: Arm, runs: &[Cell]| {
        let before = spec.pretrainings.get(&arm);
        Cost {
            labels: labels(runs),
            tokens: stats::mean(runs.iter().map(Cell::tokens)),
            wall_secs: stats::mean(runs.iter().map(Cell::wall_secs)),
            pretraining_tokens: before.map_or(0.0, |results| results.tokens as f64),
            pretraining_secs: before.map_or(0.0, |results| results.wall_secs),
            settings_tried: match arm {
                Arm::Majority => 1,
                _ if arm.is_baseline() => SETTINGS_TRIED,
                _ => spec.settings_tried,
            },
        }
    };
    let by_budget = |arm: Arm| {
        let costs = spec.budgets.iter().map(|budget| (budget.clone(), of_arm(arm, cells.of(arm, budget))));
        (arm.key(), costs.collect())
    };
    cells.arms().map(by_budget).collect()
}

/// How differences are tested.
fn tested(folds: usize) -> String {
    match folds {
        0 => "Differences are paired: both arms answer the same resampled rows with the same seeds. The p-value is twice \
              the share of resamples on the far side of zero."
            .into(),
        folds => format!(
            "Each seed divides all rows into {folds} folds, near copies in one fold; every row is tested once by models \
             that saw none of its fold, and scores are of all rows together. Differences, their intervals and p-values \
             rest on the differences from fold to fold by the corrected t-test of Nadeau and Bengio, which allows for \
             the training rows that folds share; those on clean rows alone are tested by resampling. One pre-training \
             serves all folds: the audit says which rows stand in its text."
        ),
    }
}

fn methods(spec: &ComparisonSpec<'_>) -> Vec<String> {
    let (seeds, budgets) = (spec.seeds.len(), spec.budgets.len());
    let mut methods = vec![
        format!(
            "Intervals hold 95 % of {RESAMPLES} bootstrap resamples of the test rows and of the {seeds} seeds \
             (one seed fewer is drawn than there are, which keeps the variance right for few seeds)."
        ),
        tested(spec.folds),
        format!(
            "p-values of one score are corrected by Holm's method over {}; a \
             difference counts as shown when the corrected value is below 0.05. Two arms count as the same within \
             {} when two one-sided tests, corrected alike, show a difference smaller than that.",
            counted(budgets, "label budget"),
            spec.margin
        ),
        format!(
            "McNemar's test (exact) counts per seed the rows that one arm alone answers rightly. The sign \
             test over {seeds} seeds cannot go below p = {:.3}.",
            exact_binomial(seeds as u64, 0)
        ),
        "Thresholds are chosen on validation and applied once to test.".into(),
        "With n-grams: the probabilities of a classifier and of the character n-grams (SVM), each to a power, are \
         multiplied; the two powers have the least log loss on validation."
            .into(),
    ];
    if spec.open_settings {
        methods.push(
            "Settings that the config leaves open follow from rows and start, so the arms may differ in learning rate \
             and steps; the results.json of each run has them."
                .into(),
        );
    }
    if spec.lora {
        methods.push(
            "All arms train low-rank updates and the head alone (LoRA); the arm from scratch does so on random \
             weights that stay as they are."
                .into(),
        );
    }
    if spec.audit.as_ref().is_some_and(|audit| audit.dropped) {
        methods.push(
            "Test rows that are exact or near duplicates of training rows, validation rows or the text of the \
             pre-training are left out of every score, and such validation rows of every choice, for all arms and \
             baselines alike."
                .into(),
        );
    }
    methods
}
