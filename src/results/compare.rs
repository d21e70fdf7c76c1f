//! What a comparison found out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::arm::Arm;
use super::audit::AuditResults;
use super::cells::Cells;
use super::facts::RunFacts;
use super::pretrain::Pretrained;
use crate::error::Result;
use crate::metrics::efficiency::LabelRatio;
use crate::metrics::paired::Difference;
use crate::metrics::{Verdict, stats};
use crate::run_dir::read_json;

/// A finished comparison as a value.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Its run directory.
    pub dir: PathBuf,
    /// How it was run.
    pub facts: RunFacts,
    /// `results.json`.
    pub results: CompareResults,
    /// The pre-training in its directory; none where a model from elsewhere was compared.
    pub pretrained: Option<Pretrained>,
    /// Every fine-tuning and baseline.
    pub cells: Cells,
}

/// One score over seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Mean over seeds.
    pub mean: f64,
    /// Sample standard deviation; 0 with one seed.
    pub std: f64,
    /// Of the mean: percentile bootstrap over rows and seeds.
    pub ci95: [f64; 2],
    /// Values in the order of the seeds.
    pub per_seed: Vec<f64>,
}

/// Scores by name.
pub type ScoreSummaries = BTreeMap<String, Summary>;

/// Scores by label budget, a number or `all`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ByBudget {
    /// Budget to scores.
    pub budgets: BTreeMap<String, ScoreSummaries>,
}

/// Differences by label budget.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PairedByBudget {
    /// Budget to score to difference.
    pub budgets: BTreeMap<String, BTreeMap<String, Difference>>,
}

/// Scores of all arms and their differences, on one choice of test rows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ArmScores {
    /// Test rows the scores are of.
    pub test_rows: usize,
    /// `pretrained`, `scratch`, further starts by name, and others where asked for.
    pub arms: BTreeMap<String, ByBudget>,
    /// `majority`, `char_ngram` and the others.
    pub baselines: BTreeMap<String, ByBudget>,
    /// Pre-trained minus scratch, on the same rows, seed by seed.
    pub paired: PairedByBudget,
    /// Pre-trained minus each other arm or baseline.
    pub paired_with: BTreeMap<String, PairedByBudget>,
    /// Each further start minus the arms and baselines after it in the tables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub starts_paired_with: BTreeMap<String, BTreeMap<String, PairedByBudget>>,
    /// How many labels pre-training is worth, by F1.
    pub label_efficiency: Vec<LabelRatio>,
}

/// What an arm was given, as means over seeds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Cost {
    /// Labelled rows.
    pub labels: f64,
    /// Tokens of fine-tuning, padding left out; 0 for baselines.
    pub tokens: f64,
    /// Seconds of fine-tuning or fitting.
    pub wall_secs: f64,
    /// Tokens of pre-training before it.
    pub pretraining_tokens: f64,
    /// Seconds of pre-training before it.
    pub pretraining_secs: f64,
    /// Settings tried on validation for it.
    pub settings_tried: usize,
}

/// Results of `compare`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CompareResults {
    /// `compare`.
    pub phase: String,
    /// Seeds in order.
    pub seeds: Vec<u64>,
    /// Folds of the cross-validation that each seed draws; 0 for none.
    #[serde(default)]
    pub folds: usize,
    /// Differences in F1 of less than this count as none; 0 where an older version did not say.
    #[serde(default)]
    pub equivalence_margin: f64,
    /// Budgets in rising order.
    pub budgets: Vec<String>,
    /// The label that precision, recall and F1 are about; empty where they are means over the labels.
    pub positive: String,
    /// Scores and differences.
    #[serde(flatten)]
    pub scores: ArmScores,
    /// The same without the test rows that duplicate others.
    pub clean: Option<ArmScores>,
    /// What was found where.
    pub audit: Option<AuditResults>,
    /// Arm to budget to what it was given.
    pub costs: BTreeMap<String, BTreeMap<String, Cost>>,
    /// Arm to budget to how its runs went; baselines have no entry.
    #[serde(default)]
    pub runs: BTreeMap<String, BTreeMap<String, TrainingMeans>>,
    /// Pre-training loss beside the task's score, where several checkpoints were fine-tuned.
    #[serde(default)]
    pub transfer: Vec<TransferPoint>,
    /// Plain words, the answer first.
    pub verdict: Verdict,
    /// How intervals and p-values were computed.
    pub methods: Vec<String>,
    /// Seconds of the whole comparison.
    pub wall_secs: f64,
}

impl CompareResults {
    /// Arms and baselines in the order of the tables.
    pub fn arms(&self) -> Vec<Arm> {
        let mut arms: Vec<Arm> = self.costs.keys().filter_map(|key| Arm::of_key(key)).collect();
        arms.sort();
        arms
    }

    /// What an arm was given with a label budget.
    pub fn cost(&self, arm: Arm, budget: &str) -> Option<&Cost> {
        self.costs.get(&arm.key())?.get(budget)
    }

    /// The score that differences, labels saved and the verdict are about.
    pub fn leading_score(&self) -> String {
        match &self.positive[..] {
            "" => "macro F1".into(),
            positive => format!("F1 of {positive}"),
        }
    }
}

/// How the runs of an arm and budget went, as means over seeds and folds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TrainingMeans {
    /// Passes over the training rows.
    pub epochs: f64,
    /// Passes after which the best weights were reached.
    #[serde(rename = "kept_epoch")]
    pub best_epoch: f64,
    /// How many there are, folds counted; 0 where an older version did not say.
    #[serde(default)]
    pub runs: usize,
    /// Runs that got back the weights of an earlier evaluation.
    pub restored: usize,
    /// Training loss at the best weights, nats per row.
    pub train_loss: f64,
    /// Validation loss there, nats per row.
    pub val_loss: f64,
    /// Validation minus training loss at the end, nats per row.
    pub last_gap: f64,
    /// Expected calibration error on test, 0 to 1.
    pub ece: f64,
    /// Temperature fitted on validation; above 1 the model was too sure.
    pub temperature: f64,
    /// Calibration error after it.
    pub ece_tempered: f64,
    /// Rules for the threshold and what each gives on test; empty with more than two labels.
    pub operating_points: Vec<OperatingMeans>,
}

/// What a rule for the threshold gives on test, as means over seeds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct OperatingMeans {
    /// In words.
    pub rule: String,
    /// Whether the runs answer by it.
    pub chosen: bool,
    /// Runs whose validation rows have a threshold that meets it.
    pub met: usize,
    /// Of the thresholds.
    pub threshold: f64,
    /// tp / (tp + fp).
    pub precision: f64,
    /// tp / (tp + fn).
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// False alarms.
    pub false_alarms: f64,
    /// Positive rows missed.
    pub missed: f64,
}

/// One pre-training checkpoint and what fine-tuning made of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransferPoint {
    /// Optimizer steps of pre-training; 0 are random weights.
    pub step: u64,
    /// Validation loss of pre-training, nats per token; none at random weights.
    pub val_loss: Option<f64>,
    /// Budget fine-tuned with.
    pub budget: String,
    /// Test F1 seed by seed.
    pub f1: Vec<f64>,
}

impl Comparison {
    /// Reads the finished comparison at `path`.
    ///
    /// Errors: results or a run missing (66), damaged or of another kind (65).
    pub fn load(path: &Path) -> Result<Self> {
        let results: CompareResults = read_json(path, "results.json")?;
        let arms = results.arms();
        let cells = Cells::read(path, &arms, &results.budgets, &results.seeds, results.folds)?;
        let pretrained = Pretrained::load(&path.join("pretrain")).ok();
        Ok(Self { dir: path.into(), facts: RunFacts::read(path), results, pretrained, cells })
    }
}

impl ArmScores {
    /// Scores of an arm or baseline with a label budget.
    pub fn of(&self, arm: Arm, budget: &str) -> Option<&ScoreSummaries> {
        let table = if arm.is_baseline() { &self.baselines } else { &self.arms };
        table.get(&arm.key())?.budgets.get(budget)
    }

    /// Its F1.
    pub fn f1(&self, arm: Arm, budget: &str) -> Option<&Summary> {
        self.of(arm, budget)?.get("f1")
    }

    /// F1 of pre-trained minus that of scratch.
    pub fn difference(&self, budget: &str) -> Option<&Difference> {
        self.paired.budgets.get(budget)?.get("f1")
    }

    /// F1 of a model to start from minus that of an arm or baseline after it in the tables.
    pub fn ahead_of(&self, start: Arm, other: Arm, budget: &str) -> Option<&Difference> {
        let paired = match (start, other) {
            (Arm::Pretrained, Arm::Scratch) => return self.difference(budget),
            (Arm::Pretrained, _) => &self.paired_with,
            _ => self.starts_paired_with.get(&start.key())?,
        };
        paired.get(&other.key())?.budgets.get(budget)?.get("f1")
    }
}

impl Summary {
    /// Mean and standard deviation of `per_seed`, with the interval of the mean.
    pub fn of(per_seed: Vec<f64>, ci95: [f64; 2]) -> Self {
        let mean = stats::mean(per_seed.iter().copied());
        Self { mean, std: stats::std(&per_seed), ci95, per_seed }
    }
}
