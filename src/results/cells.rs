//! The runs of a comparison: one cell for each arm or baseline, label budget and seed.

use std::collections::BTreeMap;
use std::path::Path;

use super::arm::{Arm, cell_folder};
use super::baseline::Baselined;
use super::finetune::Finetuned;
use super::predictions::Predictions;
use crate::error::{Error, Result};
use crate::metrics::scores::Rows;
use crate::metrics::{Scores, predict_label, stats};

/// One finished run.
#[derive(Clone, Debug)]
pub enum CellRun {
    /// Of an arm.
    Finetuned(Box<Finetuned>),
    /// Of a baseline, or of one combined with an arm.
    Baseline(Box<Baselined>),
}

/// The run of a seed; in a cross-validation its runs on all folds, which together answer every row once.
#[derive(Clone, Debug)]
pub struct Cell {
    /// One, or fold by fold.
    pub runs: Vec<CellRun>,
    answers: Predictions,
    /// Label predicted for each row; thresholds differ from fold to fold.
    predicted: Vec<u32>,
    test: Scores,
}

/// All runs, seeds in order, about the same test rows.
#[derive(Clone, Debug, Default)]
pub struct Cells {
    by_arm: BTreeMap<Arm, BTreeMap<String, Vec<Cell>>>,
}

impl CellRun {
    /// Reads the run at `path`.
    ///
    /// Errors: missing (66), damaged (65).
    pub fn read(arm: Arm, path: &Path) -> Result<Self> {
        match arm.is_trained() {
            true => Finetuned::load(path).map(Box::new).map(Self::Finetuned),
            false => Baselined::read(path).map(Box::new).map(Self::Baseline),
        }
    }

    /// Answers to its test rows.
    pub fn predictions(&self) -> &Predictions {
        match self {
            Self::Finetuned(run) => &run.predictions,
            Self::Baseline(run) => &run.predictions,
        }
    }

    /// Scores on its test rows.
    pub fn test(&self) -> &Scores {
        match self {
            Self::Finetuned(run) => &run.results.scores.test,
            Self::Baseline(run) => &run.results.test,
        }
    }

    /// Label that precision, recall and the threshold are about.
    pub fn positive(&self) -> &str {
        match self {
            Self::Finetuned(run) => &run.results.positive,
            Self::Baseline(run) => &run.results.positive,
        }
    }

    /// Rows trained on.
    pub fn train_rows(&self) -> usize {
        match self {
            Self::Finetuned(run) => run.results.training.train_rows,
            Self::Baseline(run) => run.results.train_rows,
        }
    }

    /// Tokens trained on; a baseline counts none.
    pub fn tokens(&self) -> u64 {
        self.finetuned().map_or(0, |run| run.results.training.tokens)
    }

    /// Seconds of training.
    pub fn wall_secs(&self) -> f64 {
        match self {
            Self::Finetuned(run) => run.results.training.wall_secs,
            Self::Baseline(run) => run.results.wall_secs,
        }
    }

    /// The fine-tuning, if it is one.
    pub fn finetuned(&self) -> Option<&Finetuned> {
        match self {
            Self::Finetuned(run) => Some(run),
            Self::Baseline(_) => None,
        }
    }

    /// Its test rows with the labels predicted for them.
    pub fn rows(&self) -> Rows<'_> {
        let (answers, threshold) = (self.predictions(), self.test().threshold);
        answers.rows(answers.label(self.positive()), threshold)
    }

    fn predicted(&self) -> Vec<u32> {
        let (answers, threshold) = (self.predictions(), self.test().threshold);
        let positive = answers.label(self.positive());
        answers.probabilities.iter().map(|row| predict_label(row, positive, threshold) as u32).collect()
    }
}

impl Cell {
    /// The runs of a seed: one, or one for each fold, whose rows then stand in the order of the hashes of their texts.
    /// `seed` draws the resamples of the intervals of several.
    ///
    /// Errors: no run; runs that answer with other labels than the first (65).
    pub fn of(runs: Vec<CellRun>, seed: u64) -> Result<Self> {
        if let [one] = &runs[..] {
            let (answers, predicted, test) = (one.predictions().clone(), one.predicted(), one.test().clone());
            return Ok(Self { answers, predicted, test, runs });
        }
        let Some(first) = runs.first() else { return Err(Error::data("a cell of a comparison has no run")) };
        let label_names = first.predictions().label_names.clone();
        if runs.iter().any(|run| run.predictions().label_names != label_names) {
            return Err(Error::data(
                "the folds of a comparison have different labels; begin anew with --overwrite",
            ));
        }
        let of_run = |run: &'_ CellRun| {
            let Predictions { labels, probabilities, text_sha256, .. } = run.predictions().clone();
            let answers = labels.into_iter().zip(probabilities).zip(run.predicted());
            text_sha256.into_iter().zip(answers).collect::<Vec<_>>()
        };
        let mut rows: Vec<_> = runs.iter().flat_map(of_run).collect();
        rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut answers = Predictions {
            label_names,
            labels: Vec::new(),
            probabilities: Vec::new(),
            text_sha256: Vec::new(),
        };
        let mut predicted = Vec::new();
        for (text, ((label, probabilities), answer)) in rows {
            answers.text_sha256.push(text);
            answers.labels.push(label);
            answers.probabilities.push(probabilities);
            predicted.push(answer);
        }
        let thresholds: Option<Vec<f64>> = runs.iter().map(|run| run.test().threshold).collect();
        let threshold = thresholds.map(stats::mean);
        let positive = answers.label(first.positive());
        let (labels, probabilities) = (&answers.labels, &answers.probabilities);
        let led = threshold.map(|_| positive);
        let pooled = Rows::answered(labels, probabilities, predicted.clone(), answers.label_names.len(), led);
        let test = Scores::of(&pooled, &answers.label_names, positive, threshold, Some(seed));
        Ok(Self { answers, predicted, test, runs })
    }

    /// Answers to the test rows.
    pub fn predictions(&self) -> &Predictions {
        &self.answers
    }

    /// Scores on test; of folds, on all rows together, with the mean of their thresholds.
    pub fn test(&self) -> &Scores {
        &self.test
    }

    /// The test rows whose numbers are in `kept`, as [`Rows`] of `answers`, which are those of these rows.
    pub fn rows_of<'a>(&self, answers: &'a Predictions, kept: &[usize]) -> Rows<'a> {
        let predicted = kept.iter().map(|row| self.predicted[*row]).collect();
        let positive = self.test.threshold.map(|_| answers.label(self.positive()));
        let num_labels = answers.label_names.len();
        Rows::answered(&answers.labels, &answers.probabilities, predicted, num_labels, positive)
    }

    /// Scores of the test rows whose numbers are in `kept`; `seed` draws the resamples of the intervals.
    pub fn scores_of(&self, kept: &[usize], seed: u64) -> Scores {
        let answers = self.answers.only(kept);
        let positive = answers.label(self.positive());
        let rows = self.rows_of(&answers, kept);
        Scores::of(&rows, &answers.label_names, positive, self.test.threshold, Some(seed))
    }

    /// Label that precision, recall and the threshold are about.
    pub fn positive(&self) -> &str {
        self.runs[0].positive()
    }

    /// Rows trained on, as a mean over folds.
    pub fn train_rows(&self) -> f64 {
        stats::mean(self.runs.iter().map(|run| run.train_rows() as f64))
    }

    /// Tokens trained on, as a mean over folds; a baseline counts none.
    pub fn tokens(&self) -> f64 {
        stats::mean(self.runs.iter().map(|run| run.tokens() as f64))
    }

    /// Seconds of training, as a mean over folds.
    pub fn wall_secs(&self) -> f64 {
        stats::mean(self.runs.iter().map(CellRun::wall_secs))
    }

    /// The fine-tunings, fold by fold; none of a baseline.
    pub fn finetuned(&self) -> impl Iterator<Item = &Finetuned> {
        self.runs.iter().filter_map(CellRun::finetuned)
    }
}

impl Cells {
    /// Reads the comparison at `path`; `folds` is 0 where there are none.
    ///
    /// Errors: a run that is missing (66), damaged or about other test rows than the first (65).
    pub fn read(path: &Path, arms: &[Arm], budgets: &[String], seeds: &[u64], folds: usize) -> Result<Self> {
        let mut cells = Self::default();
        for &arm in arms {
            for budget in budgets {
                for &seed in seeds {
                    let run = |fold| CellRun::read(arm, &path.join(cell_folder(arm, budget, seed, fold)));
                    let runs = folds_of(folds).map(run).collect::<Result<_>>()?;
                    cells.push(arm, budget, seed, Cell::of(runs, seed)?)?;
                }
            }
        }
        Ok(cells)
    }

    /// Adds the run of the next seed.
    ///
    /// Errors: answers to other rows than those of the first run (65).
    pub fn push(&mut self, arm: Arm, budget: &str, seed: u64, cell: Cell) -> Result<()> {
        let first = self.by_arm.values().flat_map(BTreeMap::values).flatten().next();
        if first.is_some_and(|first| !first.predictions().same_rows(cell.predictions())) {
            let why = "its test rows are not those of the other runs; remove it and go on with --resume";
            let folds = if cell.runs.len() > 1 { 1 } else { 0 };
            let folder = cell_folder(arm, budget, seed, folds);
            return Err(Error::data(format!("{}: {why}", folder.display())));
        }
        self.by_arm.entry(arm).or_default().entry(budget.into()).or_default().push(cell);
        Ok(())
    }

    /// Arms and baselines that have runs, in the order of the tables.
    pub fn arms(&self) -> impl Iterator<Item = Arm> + '_ {
        self.by_arm.keys().copied()
    }

    /// Runs of an arm with a label budget, seed by seed; empty where there are none.
    pub fn of(&self, arm: Arm, budget: &str) -> &[Cell] {
        self.by_arm.get(&arm).and_then(|budgets| budgets.get(budget)).map_or(&[], Vec::as_slice)
    }

    /// Fine-tunings of an arm with a label budget, seed by seed and fold by fold.
    pub fn finetuned(&self, arm: Arm, budget: &str) -> Vec<&Finetuned> {
        self.of(arm, budget).iter().flat_map(Cell::finetuned).collect()
    }
}

/// Numbers of the folds, from 1; of none a 0, for the one run without.
pub fn folds_of(folds: usize) -> std::ops::RangeInclusive<usize> {
    usize::from(folds > 0)..=folds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_folds_there_is_one_run() {
        assert_eq!(folds_of(0).collect::<Vec<_>>(), [0]);
        assert_eq!(folds_of(3).collect::<Vec<_>>(), [1, 2, 3]);
    }
}
