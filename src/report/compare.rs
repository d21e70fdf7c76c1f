//! The comparison, from the stored results of its runs.

use std::collections::BTreeMap;

use super::results::{ByBudget, CompareResults, Difference, PairedByBudget, ScoreSummaries, Summary};
use crate::metrics::{Scores, Verdict};

/// Every row of the table: an arm or a baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arm {
    /// Fine-tuned from the pre-trained weights.
    Pretrained,
    /// The same from random weights.
    Scratch,
    /// Character n-grams with logistic regression.
    CharNgram,
    /// Class shares.
    Majority,
}

impl Arm {
    /// All, in the order of the tables.
    pub const ALL: [Arm; 4] = [Arm::Pretrained, Arm::Scratch, Arm::CharNgram, Arm::Majority];

    /// Key in results.json.
    pub fn key(self) -> &'static str {
        match self {
            Arm::Pretrained => "pretrained",
            Arm::Scratch => "scratch",
            Arm::CharNgram => "char_ngram",
            Arm::Majority => "majority",
        }
    }
}

/// Test scores of one budget, per arm in the order of the seeds.
pub struct BudgetRuns {
    /// `all` or a number.
    pub budget: String,
    /// Test scores per arm and seed.
    pub scores: BTreeMap<Arm, Vec<Scores>>,
}

/// A difference in mean F1 below this is called none: one test message in a hundred.
const CLEAR_DIFFERENCE: f64 = 0.01;

/// Summarises test scores over seeds and says in words what they show.
pub fn compare(seeds: &[u64], runs: &[BudgetRuns], wall_secs: f64) -> CompareResults {
    let mut arms: BTreeMap<String, ByBudget> = BTreeMap::new();
    let mut baselines: BTreeMap<String, ByBudget> = BTreeMap::new();
    let mut paired = PairedByBudget::default();
    for run in runs {
        for (arm, scores) in &run.scores {
            let table =
                if matches!(arm, Arm::Pretrained | Arm::Scratch) { &mut arms } else { &mut baselines };
            let by_budget = table.entry(arm.key().into()).or_default();
            by_budget.budgets.insert(run.budget.clone(), summaries(scores));
        }
        if let (Some(a), Some(b)) = (run.scores.get(&Arm::Pretrained), run.scores.get(&Arm::Scratch)) {
            paired.budgets.insert(run.budget.clone(), differences(&summaries(a), &summaries(b)));
        }
    }
    let findings = runs.iter().flat_map(|run| findings(run, seeds.len())).collect();
    let fit = runs.last().is_some_and(is_fit);
    CompareResults {
        phase: "compare".into(),
        seeds: seeds.to_vec(),
        budgets: runs.iter().map(|run| run.budget.clone()).collect(),
        arms,
        baselines,
        paired,
        verdict: Verdict { fit, findings },
        wall_secs,
    }
}

/// One score of all; none where it is undefined.
type Figure = fn(&Scores) -> Option<f64>;

fn summaries(scores: &[Scores]) -> ScoreSummaries {
    let named: [(&str, Figure); 10] = [
        ("loss", |s| Some(s.loss)),
        ("accuracy", |s| Some(s.accuracy)),
        ("precision", |s| Some(s.precision)),
        ("recall", |s| Some(s.recall)),
        ("f1", |s| Some(s.f1)),
        ("mcc", |s| Some(s.mcc)),
        ("balanced_accuracy", |s| Some(s.balanced_accuracy)),
        ("macro_f1", |s| Some(s.macro_f1)),
        ("roc_auc", |s| s.roc_auc),
        ("pr_auc", |s| s.pr_auc),
    ];
    let summary = |of: Figure| {
        scores.iter().map(of).collect::<Option<Vec<f64>>>().filter(|v| !v.is_empty()).map(Summary::of)
    };
    named.into_iter().filter_map(|(name, of)| Some((name.to_string(), summary(of)?))).collect()
}

fn differences(a: &ScoreSummaries, b: &ScoreSummaries) -> BTreeMap<String, Difference> {
    let both = a.iter().filter_map(|(name, a)| Some((name, a, b.get(name)?)));
    let difference = |(name, a, b): (&String, &Summary, &Summary)| {
        let per_seed = a.per_seed.iter().zip(&b.per_seed).map(|(a, b)| a - b).collect();
        (name.clone(), Difference { difference: a.mean - b.mean, per_seed })
    };
    both.map(difference).collect()
}

fn mean_f1(run: &BudgetRuns, arm: Arm) -> Option<Summary> {
    run.scores.get(&arm).and_then(|scores| summaries(scores).remove("f1"))
}

fn findings(run: &BudgetRuns, seeds: usize) -> Vec<String> {
    let labels = if run.budget == "all" { "all labels".into() } else { format!("{} labels", run.budget) };
    let (Some(a), Some(b)) = (mean_f1(run, Arm::Pretrained), mean_f1(run, Arm::Scratch)) else {
        return Vec::new();
    };
    let difference = a.mean - b.mean;
    let wins = a.per_seed.iter().zip(&b.per_seed).filter(|(a, b)| a > b).count();
    let outcome = if difference.abs() < CLEAR_DIFFERENCE {
        "pre-training made no clear difference"
    } else if difference > 0.0 {
        "pre-training helped"
    } else {
        "pre-training did harm"
    };
    let (a_mean, b_mean) = (a.mean, b.mean);
    let mut found = vec![format!(
        "With {labels} {outcome}: mean F1 {a_mean:.3} against {b_mean:.3} from scratch ({difference:+.3}), \
         better on {wins} of {seeds} seeds."
    )];
    if let Some(ngram) = mean_f1(run, Arm::CharNgram)
        && ngram.mean > a.mean.max(b.mean)
    {
        let mean = ngram.mean;
        found.push(format!(
            "With {labels} character n-grams with logistic regression are ahead of both (F1 {mean:.3})."
        ));
    }
    found
}

/// Whether the pre-trained arm is fit for use on every seed.
fn is_fit(run: &BudgetRuns) -> bool {
    let scores = run.scores.get(&Arm::Pretrained);
    scores.is_some_and(|scores| scores.iter().all(|scores| Verdict::judge(scores, None).fit))
}
