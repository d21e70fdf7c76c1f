//! The tables of a comparison.

use std::collections::BTreeMap;

use super::table::{Cell, Table, score};
use super::tables;
use crate::analysis::{SIGNIFICANT, labels, p_words};
use crate::metrics::efficiency::Bound;
use crate::metrics::scores::LabelScores;
use crate::metrics::stats;
use crate::results::{
    Arm, ArmScores, Cells, CompareResults, Mistake, Summary, TrainingMeans, cell_folder, folds_of,
};

/// Mistakes shown of all that the runs kept.
const SHOWN_MISTAKES: usize = 12;

/// Every score of every arm and baseline, by budget.
pub fn scores(results: &CompareResults, of: &ArmScores) -> Table {
    let columns = ["labels", "model", "F1", "95 %", "precision", "recall", "PR-AUC", "MCC", "accuracy"];
    let mut table = Table::new("Scores", 2, &columns);
    let arms = results.arms();
    for budget in &results.budgets {
        table.begin_group();
        let means = arms.iter().map(|arm| of.f1(*arm, budget).map(|f1| f1.mean));
        let best = means.flatten().fold(f64::NEG_INFINITY, f64::max);
        for &arm in &arms {
            let Some(scores) = of.of(arm, budget) else { continue };
            let cell = |key: &str| scores.get(key).map_or("-".into(), mean_std);
            let f1 = scores.get("f1");
            let leads = f1.is_some_and(|f1| f1.mean == best);
            let interval = f1.map_or("-".into(), |f1| range(f1.ci95, score));
            let first: [Cell; 4] =
                [budget.into(), arm.name().into(), Cell::strong(cell("f1"), leads), interval.into()];
            let rest = ["precision", "recall", "pr_auc", "mcc", "accuracy"].map(|key| cell(key).into());
            table.row(first.into_iter().chain(rest));
        }
    }
    table.note(format!(
        "Mean ± standard deviation over {} seeds on {} test rows, with the 95 % interval of the mean F1, which is {}; the \
         best of each budget is bold.",
        results.seeds.len(),
        of.test_rows,
        results.leading_score()
    ))
}

fn mean_std(summary: &Summary) -> String {
    format!("{:.3} ±{:.3}", summary.mean, summary.std)
}

fn range([low, high]: [f64; 2], figure: fn(f64) -> String) -> String {
    format!("{} to {}", figure(low), figure(high))
}

fn signed(value: f64) -> String {
    format!("{value:+.3}")
}

/// Differences of the two arms with intervals and tests.
pub fn differences(results: &CompareResults) -> Table {
    let columns = [
        "labels",
        "score",
        "difference",
        "95 %",
        "p",
        "corrected p",
        "better seeds",
        "sign test",
        "McNemar, seed by seed",
    ];
    let mut table = Table::new("Paired differences", 2, &columns);
    for budget in &results.budgets {
        table.begin_group();
        let Some(scores) = results.scores.paired.budgets.get(budget) else { continue };
        for (name, key) in [("F1", "f1"), ("PR-AUC", "pr_auc"), ("accuracy", "accuracy")] {
            let Some(found) = scores.get(key) else { continue };
            let p_values: Vec<String> =
                found.mcnemar.iter().map(|test| p_words(test.p_value).replace("p = ", "")).collect();
            let sign = &found.sign_test;
            let difference = Cell::strong(signed(found.difference), found.p_value_holm < SIGNIFICANT);
            let first: [Cell; 3] = [budget.into(), name.into(), difference];
            let rest = [
                range(found.ci95, signed),
                score(found.p_value),
                score(found.p_value_holm),
                format!("{} of {}", sign.wins, found.per_seed.len()),
                score(sign.p_value),
                p_values.join(", "),
            ];
            table.row(first.into_iter().chain(rest.map(Cell::from)));
        }
    }
    table.note("Bold: shown at the 5 % level after correction.")
}

/// How many labels pre-training is worth.
pub fn label_efficiency(results: &CompareResults) -> Table {
    let columns = ["labels", "F1", "from scratch needs, for the same F1", "95 %"];
    let mut table = Table::new("Label efficiency", 1, &columns);
    for found in &results.scores.label_efficiency {
        let bound = match found.bound {
            Bound::About => "about",
            Bound::AtLeast => "at least",
            Bound::AtMost => "at most",
        };
        let ratio = format!("{bound} {} times the labels", times(found.ratio));
        table.row([found.budget.clone(), score(found.score), ratio, range(found.ci95, times)]);
    }
    table.note(
        "Read off the curve from scratch between its budgets; ends beyond what was measured are bounds.",
    )
}

/// A ratio of labels; one below 1 would lose itself in one decimal.
fn times(ratio: f64) -> String {
    if ratio < 0.95 { format!("{ratio:.2}") } else { format!("{ratio:.1}") }
}

/// Tokens and seconds of each arm.
pub fn costs(results: &CompareResults) -> Table {
    let columns = [
        "labels",
        "model",
        "tokens",
        "seconds",
        "pre-training tokens",
        "pre-training seconds",
        "settings tried",
    ];
    let mut table = Table::new("Costs", 2, &columns);
    for budget in &results.budgets {
        table.begin_group();
        for arm in results.arms() {
            let Some(cost) = results.cost(arm, budget) else { continue };
            table.row([
                budget.clone(),
                arm.name(),
                format!("{:.0}", cost.tokens),
                format!("{:.1}", cost.wall_secs),
                format!("{:.0}", cost.pretraining_tokens),
                format!("{:.1}", cost.pretraining_secs),
                cost.settings_tried.to_string(),
            ]);
        }
    }
    table.note("Means over seeds. Pre-training is paid once for all seeds and budgets.")
}

/// By budget, then by arm.
fn means(results: &CompareResults) -> impl Iterator<Item = (&String, Arm, &TrainingMeans)> {
    results.budgets.iter().flat_map(move |budget| {
        let of_arm = move |arm: Arm| Some((budget, arm, results.runs.get(&arm.key())?.get(budget)?));
        results.arms().into_iter().filter_map(of_arm)
    })
}

/// How training went and how far the probabilities can be believed.
pub fn training(results: &CompareResults) -> Table {
    let columns = [
        "labels",
        "model",
        "best epoch",
        "restored",
        "train loss",
        "val loss",
        "gap",
        "final gap",
        "ECE",
        "temperature",
        "ECE after",
    ];
    let mut table = Table::new("Training", 2, &columns);
    let mut group = None;
    for (budget, arm, means) in means(results) {
        if group.replace(budget) != Some(budget) {
            table.begin_group();
        }
        table.row([
            budget.clone(),
            arm.name(),
            format!("{:.1} of {:.1}", means.best_epoch, means.epochs),
            format!("{} of {}", means.restored, means.runs.max(results.seeds.len())),
            score(means.train_loss),
            score(means.val_loss),
            signed(means.val_loss - means.train_loss),
            signed(means.last_gap),
            score(means.ece),
            format!("{:.2}", means.temperature),
            score(means.ece_tempered),
        ]);
    }
    table.note(
        "Means over the runs. Losses in nats per row at the best weights, which are restored where training went on after \
         them; the gap is validation minus training loss, and one that grows towards the end is overfitting. ECE is \
         the expected calibration error on test, before and after the temperature, which is fitted on validation.",
    )
}

/// What each rule for the threshold gives on test.
pub fn operating(results: &CompareResults) -> Table {
    let columns = [
        "labels",
        "model",
        "threshold chosen by",
        "threshold",
        "precision",
        "recall",
        "F1",
        "false alarms",
        "missed",
    ];
    let mut table = Table::new("Thresholds", 3, &columns);
    for (budget, arm, means) in means(results) {
        let runs = means.runs.max(results.seeds.len());
        table.begin_group();
        for point in &means.operating_points {
            let used = if point.chosen { " (used)" } else { "" };
            let met = match point.met < runs {
                true => format!(" (reached in {} of {runs} runs)", point.met),
                false => String::new(),
            };
            let scores = [point.threshold, point.precision, point.recall, point.f1].map(score);
            let counts = [point.false_alarms, point.missed].map(|count| format!("{count:.1}"));
            let first = [budget.clone(), arm.name(), format!("{}{used}{met}", point.rule)];
            table.row(first.into_iter().chain(scores).chain(counts));
        }
    }
    table.note(
        "Scores on test, means over the runs, which with folds are single folds. Each threshold was chosen on validation before test was looked at.",
    )
}

/// Pre-training loss beside the task's score.
pub fn transfer(results: &CompareResults) -> Table {
    let columns = ["pre-training step", "its validation loss", "labels", "F1, seed by seed"];
    let mut table = Table::new("Transfer", 1, &columns);
    for point in &results.transfer {
        let f1: Vec<String> = point.f1.iter().copied().map(score).collect();
        let loss = point.val_loss.map_or("random weights".into(), score);
        table.row([point.step.to_string(), loss, point.budget.clone(), f1.join(", ")]);
    }
    table
}

/// Every label's scores on test with the most labels, as means over seeds.
pub fn by_label(results: &CompareResults, cells: &Cells) -> Table {
    let mut table =
        Table::new("Scores by label", 2, &["label", "model", "precision", "recall", "F1", "test rows"]);
    let Some(budget) = results.budgets.last() else { return table };
    for arm in results.arms().into_iter().filter(|arm| arm.with_ngrams().is_some()) {
        table.begin_group();
        let runs = cells.of(arm, budget);
        for (at, label) in runs.iter().take(1).flat_map(|run| run.test().per_class.iter().enumerate()) {
            let mean = |value: fn(&LabelScores) -> f64| {
                score(stats::mean(runs.iter().map(|run| value(&run.test().per_class[at]))))
            };
            let scores = [mean(|s| s.precision), mean(|s| s.recall), mean(|s| s.f1)];
            let support = if label.support > 0 { label.support.to_string() } else { "no rows".into() };
            let name = label.label.clone();
            table.row([name, arm.name()].into_iter().chain(scores).chain([support]));
        }
    }
    table.note(format!("With {}, means over seeds.", labels(budget)))
}

/// Rows that the pre-trained arm with the most labels answers wrongly, those of most seeds first, and what is
/// nearest to them in training.
pub fn mistakes(results: &CompareResults, cells: &Cells) -> Table {
    let Some(budget) = results.budgets.last() else { return Table::default() };
    let mut by_row: BTreeMap<&str, Vec<&Mistake>> = BTreeMap::new();
    for mistake in cells.finetuned(Arm::Pretrained, budget).iter().flat_map(|run| &run.mistakes) {
        by_row.entry(&mistake.text).or_default().push(mistake);
    }
    let mean = |of: &[&Mistake]| stats::mean(of.iter().map(|mistake| mistake.probability));
    let mut of_rows: Vec<Vec<&Mistake>> = by_row.into_values().collect();
    of_rows.sort_by(|a, b| b.len().cmp(&a.len()).then(mean(b).total_cmp(&mean(a))));
    let shown = of_rows.iter().take(SHOWN_MISTAKES).map(|of| {
        let seeds = format!("{} of {}", of.len(), results.seeds.len());
        (Mistake { probability: mean(of), ..of[0].clone() }, Some(seeds))
    });
    tables::mistakes(&shown.collect::<Vec<_>>()).note(format!(
        "Of the most confident mistakes of each seed with {}; probabilities are means.",
        labels(budget)
    ))
}

/// The page of every fine-tuning.
pub fn runs(results: &CompareResults, cells: &Cells) -> Table {
    let mut table = Table::new("Runs", 3, &["labels", "model", "report"]);
    for budget in &results.budgets {
        table.begin_group();
        for arm in cells.arms().filter(|arm| arm.is_trained()) {
            let page = |seed: u64, fold: usize| {
                let of_fold = if fold > 0 { format!(" fold {fold}") } else { String::new() };
                let folder = cell_folder(arm, budget, seed, fold);
                (format!("seed {seed}{of_fold}"), format!("{}/report.html", folder.display()))
            };
            let pages = results
                .seeds
                .iter()
                .flat_map(|&seed| folds_of(results.folds).map(move |fold| page(seed, fold)));
            let links = tables::link(pages.collect());
            table.row([Cell::from(budget), Cell::from(arm.name()), links]);
        }
    }
    table
}
