//! The table of a comparison: every arm and baseline at every place, made or found.

use std::collections::BTreeMap;
use std::path::Path;

use super::baselines::baselines;
use super::combined::combined;
use super::plan::{Place, Plan, Setting, arms, budget_name, budgets, with_tokens};
use super::search::{self, Choice};
use super::transfer;
use crate::config;
use crate::error::Result;
use crate::results::{Arm, Baselined, Cell, CellRun, Cells, Finetuned, TransferPoint, cell_folder, folds_of};
use crate::run_dir::{copy_run, is_done};
use crate::runs::Context;

/// What came out, and what was chosen for the pre-trained arm on the way.
pub struct Table<'a> {
    plan: &'a Plan<'a>,
    context: Context,
    /// All runs.
    pub cells: Cells,
    /// Setting of the pre-trained arm with the fewest labels.
    setting: Setting,
}

/// Runs of one seed and budget, fold by fold.
type Runs = BTreeMap<Arm, Vec<CellRun>>;

impl<'a> Table<'a> {
    /// Every budget in rising order, every seed and fold, all arms and baselines; what is done stays as it is. `ended`
    /// hears of every run that is done.
    pub fn run(plan: &'a Plan<'a>, ended: &mut dyn FnMut() -> Result<()>, context: &Context) -> Result<Self> {
        let (config, arms, budgets) = (plan.config, arms(plan.config), budgets(plan.config));
        let all = budgets.len() * config.seeds.len() * folds_of(config.folds).count() * arms.len();
        let bar = context.progress.bar("comparing", all as u64);
        let mut done = 0;
        let mut next = |arm: Arm, f1: f64, budget: usize, Place { seed, fold }: Place| {
            let of_fold = if fold > 0 { format!(" fold {fold}") } else { String::new() };
            let name = budget_name(budget);
            context.progress.note(format!("{} {name} seed {seed}{of_fold}: test F1 {f1:.3}", arm.key()));
            done += 1;
            bar.advance_to(done, || format!("F1 {f1:.3}"));
            ended()
        };
        let (cells, setting) = (Cells::default(), Setting::default());
        let mut table = Self { plan, context: context.inner(), cells, setting };
        for (at, &budget) in budgets.iter().enumerate() {
            let mut choices = BTreeMap::new();
            for &seed in &config.seeds {
                let mut runs = Runs::new();
                for fold in folds_of(config.folds) {
                    let place = Place { seed, fold };
                    if fold > 0 || choices.is_empty() {
                        choices = search::choose_all(plan, &arms, budget, place, &table.context)?;
                    }
                    for &arm in &arms {
                        let run = table.trained(arm, budget, place, &choices[&arm], &runs)?;
                        next(arm, run.results.scores.test.f1, budget, place)?;
                        runs.entry(arm).or_default().push(CellRun::Finetuned(Box::new(run)));
                    }
                    table.beside(&arms, budget, place, &mut runs)?;
                }
                for (arm, runs) in runs {
                    table.cells.push(arm, &budget_name(budget), seed, Cell::of(runs, seed)?)?;
                }
            }
            if at == 0 {
                table.setting = choices[&Arm::Pretrained].setting;
            }
        }
        Ok(table)
    }

    /// A fine-tuning: the one that is there, the one that a search made with the same seed, or a new one.
    fn trained(
        &self,
        arm: Arm,
        budget: usize,
        place: Place,
        choice: &Choice,
        runs: &Runs,
    ) -> Result<Finetuned> {
        let mut config = self.plan.run(arm, budget, place, choice.setting);
        if arm == Arm::ScratchMatched {
            // The plain arm of the same place has just run.
            let plain = runs.get(&Arm::Scratch).and_then(|runs| runs.last()).map_or(0, CellRun::tokens);
            config = with_tokens(config, self.plan.pretraining_tokens + plain);
        }
        let folder = Path::new(&config.output_dir);
        if let Some(run) = choice.run_of(place.seed).filter(|_| !is_done(folder)) {
            copy_run(run, folder, &config::to_toml(&config)?)?;
        }
        search::fine_tuned(&config, &self.context)
    }

    /// The baselines of a place, and each arm combined with its character n-grams.
    fn beside(&self, arms: &[Arm], budget: usize, place: Place, runs: &mut Runs) -> Result<()> {
        let config = self.plan.config;
        let fitted = baselines(config, budget, place)?;
        let ngrams = fitted.iter().find(|(arm, _)| *arm == Arm::CharSvm).map(|(_, ngrams)| ngrams);
        let of_svm = cell_folder(Arm::CharSvm, &budget_name(budget), place.seed, place.fold);
        let kept = (place.fold == 0).then_some(of_svm);
        let mut all: Vec<(Arm, Baselined)> = Vec::new();
        for &alone in arms {
            let run = runs.get(&alone).and_then(|runs| runs.last()).and_then(CellRun::finetuned);
            let (Some(arm), Some(run), Some(ngrams)) = (alone.with_ngrams(), run, ngrams) else { continue };
            let folder = cell_folder(arm, &budget_name(budget), place.seed, place.fold);
            let folder = Path::new(&config.output_dir).join(folder);
            all.push((arm, combined(run, ngrams, kept.as_deref(), &folder)?));
        }
        for (arm, run) in all.into_iter().chain(fitted) {
            runs.entry(arm).or_default().push(CellRun::Baseline(Box::new(run)));
        }
        Ok(())
    }

    /// The transfer curve on the smallest budget, where it is asked for.
    pub fn transfer(&self) -> Result<Vec<TransferPoint>> {
        let plan = self.plan;
        if plan.config.transfer_checkpoints == 0 {
            return Ok(Vec::new());
        }
        let budget = budgets(plan.config)[0];
        let scratch = self.cells.of(Arm::Scratch, &budget_name(budget));
        let scratch = scratch.iter().map(|cell| cell.test().f1).collect();
        transfer::points(plan, budget, self.setting, scratch, &self.context)
    }
}
