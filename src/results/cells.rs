//! The runs of a comparison: one cell for each arm or baseline, label budget and seed.

use std::collections::BTreeMap;
use std::path::Path;

use super::arm::{Arm, cell_folder};
use super::baseline::Baselined;
use super::finetune::Finetuned;
use super::predictions::Predictions;
use crate::error::{Error, Result};
use crate::metrics::Scores;

/// One finished run.
#[derive(Clone, Debug)]
pub enum Cell {
    /// Of an arm.
    Finetuned(Box<Finetuned>),
    /// Of a baseline, or of one combined with an arm.
    Baseline(Box<Baselined>),
}

/// All runs, seeds in order, about the same test rows.
#[derive(Clone, Debug, Default)]
pub struct Cells {
    by_arm: BTreeMap<Arm, BTreeMap<String, Vec<Cell>>>,
}

impl Cell {
    /// Reads the run at `path`.
    ///
    /// Errors: missing (66), damaged (65).
    pub fn read(arm: Arm, path: &Path) -> Result<Self> {
        match arm.is_trained() {
            true => Finetuned::load(path).map(Box::new).map(Self::Finetuned),
            false => Baselined::read(path).map(Box::new).map(Self::Baseline),
        }
    }

    /// Answers to the test rows.
    pub fn predictions(&self) -> &Predictions {
        match self {
            Self::Finetuned(run) => &run.predictions,
            Self::Baseline(run) => &run.predictions,
        }
    }

    /// Scores on test.
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
}

impl Cells {
    /// Reads the comparison at `path`.
    ///
    /// Errors: a run that is missing (66), damaged or about other test rows than the first (65).
    pub fn read(path: &Path, arms: &[Arm], budgets: &[String], seeds: &[u64]) -> Result<Self> {
        let mut cells = Self::default();
        for &arm in arms {
            for budget in budgets {
                for &seed in seeds {
                    let folder = path.join(cell_folder(arm, budget, seed));
                    cells.push(arm, budget, seed, Cell::read(arm, &folder)?)?;
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
            let folder = cell_folder(arm, budget, seed);
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

    /// Fine-tunings of an arm with a label budget, seed by seed.
    pub fn finetuned(&self, arm: Arm, budget: &str) -> Vec<&Finetuned> {
        self.of(arm, budget).iter().filter_map(Cell::finetuned).collect()
    }
}
