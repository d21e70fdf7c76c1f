//! The search of a comparison: the same few settings for either arm, the best on validation kept.

use std::path::{Path, PathBuf};

use super::plan::{Plan, Setting, settings};
use crate::error::Result;
use crate::metrics::Scores;
use crate::results::{Arm, Finetuned};
use crate::run_dir::{Manifest, read_json};
use crate::runs::Context;
use crate::trainer::SelectionMetric;

/// What was chosen for an arm and budget.
#[derive(Clone, Default)]
pub struct Choice {
    /// To be applied to every run of the arm and budget.
    pub setting: Setting,
    /// The run of the search with it; none where nothing was tried.
    run: Option<PathBuf>,
}

impl Choice {
    /// The run that the search made with it, if that was of this seed.
    pub fn run_of(&self, seed: u64) -> Option<&Path> {
        let manifest = |run: &Path| read_json::<Manifest>(run, "run.json");
        self.run.as_deref().filter(|run| manifest(run).is_ok_and(|manifest| manifest.seed == seed))
    }
}

/// What is chosen for each of these arms at a budget. The longer arm takes what was chosen for the plain one from
/// scratch, but not its run.
pub fn choose_all(
    plan: &Plan<'_>,
    arms: &[Arm],
    budget: usize,
    context: &Context,
) -> Result<Vec<(Arm, Choice)>> {
    let mut chosen: Vec<(Arm, Choice)> = Vec::new();
    for &arm in arms {
        let plain = chosen.iter().find(|(plain, _)| arm == Arm::ScratchMatched && *plain == Arm::Scratch);
        let choice = match plain {
            Some((_, choice)) => Choice { run: None, ..choice.clone() },
            None => choose(plan, arm, budget, context)?,
        };
        chosen.push((arm, choice));
    }
    Ok(chosen)
}

/// The setting of the best validation score, by the selection metric, on the first seed; of equals the one of lower
/// validation loss. Test rows have no part in it.
fn choose(plan: &Plan<'_>, arm: Arm, budget: usize, context: &Context) -> Result<Choice> {
    if let [only] = settings(plan.config)[..] {
        return Ok(Choice { setting: only, run: None });
    }
    let metric = plan.config.finetune.classifier.selection_metric;
    let mut best: Option<((f64, f64), Choice)> = None;
    for trial in plan.trials(arm, budget) {
        let tried = Finetuned::of(&trial.config, context)?;
        let score = rank(metric, &tried.results.scores.validation);
        if best.as_ref().is_none_or(|(so_far, _)| score > *so_far) {
            best = Some((score, Choice { setting: trial.setting, run: Some(tried.dir) }));
        }
    }
    Ok(best.map(|(_, choice)| choice).unwrap_or_default())
}

/// What settings are compared by, the first entry first.
fn rank(metric: SelectionMetric, validation: &Scores) -> (f64, f64) {
    (metric.of(validation), -validation.loss)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Threshold;

    #[test]
    fn settings_are_ranked_by_the_selection_metric_and_then_by_loss() {
        let names = ["ham".to_string(), "spam".to_string()];
        let scores = |spam: [f64; 4]| {
            let probabilities = spam.map(|spam| vec![1.0 - spam, spam]);
            Scores::compute(&[0, 0, 1, 1], &probabilities, &names, 1, Threshold::BestF1, None).unwrap()
        };
        // The same best F1; the first orders better, the second has the lower loss.
        let (ordered, sure) = (scores([0.1, 0.6, 0.3, 0.9]), scores([0.1, 0.55, 0.53, 0.54]));
        let better = |metric| rank(metric, &ordered) > rank(metric, &sure);
        assert!(better(SelectionMetric::PrAuc));
        assert!(!better(SelectionMetric::F1) && ordered.f1 == sure.f1);
    }
}
