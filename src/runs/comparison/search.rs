//! The search of a comparison: the same few settings for either arm, the best on validation kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::plan::{Place, Plan, Setting, settings};
use crate::config::FinetuneConfig;
use crate::error::Result;
use crate::metrics::{Scores, stats};
use crate::results::{Arm, Finetuned};
use crate::run_dir::{Manifest, drop_checkpoints, read_json};
use crate::runs::Context;
use crate::trainer::SelectionMetric;

/// What was chosen for an arm and budget.
#[derive(Clone, Default)]
pub struct Choice {
    /// To be applied to every run of the arm and budget, or of the fold.
    pub setting: Setting,
    /// The runs of the search with it; none where nothing was tried.
    runs: Vec<PathBuf>,
}

impl Choice {
    /// The run that the search made with it and this seed.
    pub fn run_of(&self, seed: u64) -> Option<&Path> {
        let manifest = |run: &Path| read_json::<Manifest>(run, "run.json");
        let of_seed = |run: &&PathBuf| manifest(run).is_ok_and(|manifest| manifest.seed == seed);
        self.runs.iter().find(of_seed).map(PathBuf::as_path)
    }
}

/// What is chosen for each of these arms at a budget, by the rows of this place. The longer arm takes what was chosen for
/// the plain one from scratch, but not its runs.
pub fn choose_all(
    plan: &Plan<'_>,
    arms: &[Arm],
    budget: usize,
    place: Place,
    context: &Context,
) -> Result<BTreeMap<Arm, Choice>> {
    let mut chosen: BTreeMap<Arm, Choice> = BTreeMap::new();
    for &arm in arms {
        let plain = chosen.get(&Arm::Scratch).filter(|_| arm == Arm::ScratchMatched);
        let choice = match plain {
            Some(choice) => Choice { runs: Vec::new(), ..choice.clone() },
            None => choose(plan, arm, budget, place, context)?,
        };
        chosen.insert(arm, choice);
    }
    Ok(chosen)
}

/// The setting of the best validation score, by the selection metric, as a mean over seeds; of equals the one of lower
/// validation loss. Test rows have no part in it.
fn choose(plan: &Plan<'_>, arm: Arm, budget: usize, place: Place, context: &Context) -> Result<Choice> {
    if let [only] = settings(plan.config)[..] {
        return Ok(Choice { setting: only, runs: Vec::new() });
    }
    let metric = plan.config.finetune.classifier.selection_metric;
    let mut best: Option<((f64, f64), Choice)> = None;
    for trial in plan.trials(arm, budget, place) {
        let mut tried = Vec::new();
        for run in &trial.runs {
            tried.push(fine_tuned(run, context)?);
        }
        let score = rank(metric, tried.iter().map(|run| &run.results.scores.validation));
        if best.as_ref().is_none_or(|(so_far, _)| score > *so_far) {
            let runs = tried.into_iter().map(|run| run.dir).collect();
            best = Some((score, Choice { setting: trial.setting, runs }));
        }
    }
    Ok(best.map(|(_, choice)| choice).unwrap_or_default())
}

/// The run of this config, made or found. On a fold it keeps no checkpoints: there are many, and nobody goes on from one.
pub fn fine_tuned(config: &FinetuneConfig, context: &Context) -> Result<Finetuned> {
    let run = Finetuned::of(config, context)?;
    if config.data.folds > 0 {
        drop_checkpoints(&run.dir)?;
    }
    Ok(run)
}

/// What settings are compared by, the first entry first: means over the runs with each.
fn rank<'a>(metric: SelectionMetric, validation: impl Iterator<Item = &'a Scores> + Clone) -> (f64, f64) {
    (
        stats::mean(validation.clone().map(|scores| metric.of(scores))),
        -stats::mean(validation.map(|s| s.loss)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Threshold;

    fn scores(spam: [f64; 4]) -> Scores {
        let names = ["ham".to_string(), "spam".to_string()];
        let probabilities = spam.map(|spam| vec![1.0 - spam, spam]);
        Scores::compute(&[0, 0, 1, 1], &probabilities, &names, 1, Threshold::BestF1, None).unwrap()
    }

    #[test]
    fn settings_are_ranked_by_the_selection_metric_and_then_by_loss() {
        // The same best F1; the first orders better, the second has the lower loss.
        let (ordered, sure) = (scores([0.1, 0.6, 0.3, 0.9]), scores([0.1, 0.55, 0.53, 0.54]));
        let better = |metric| rank(metric, [&ordered].into_iter()) > rank(metric, [&sure].into_iter());
        assert!(better(SelectionMetric::PrAuc));
        assert!(!better(SelectionMetric::F1) && ordered.f1 == sure.f1);
    }

    #[test]
    fn one_lucky_seed_does_not_decide() {
        let (good, fair, bad) =
            (scores([0.1, 0.2, 0.8, 0.9]), scores([0.1, 0.6, 0.5, 0.9]), scores([0.9, 0.8, 0.2, 0.1]));
        let (steady, lucky) = ([&fair, &fair, &fair], [&good, &bad, &bad]);
        assert!(rank(SelectionMetric::F1, steady.into_iter()) > rank(SelectionMetric::F1, lucky.into_iter()));
    }
}
