//! The search of a comparison: the same few settings for either arm, the best on validation kept.

use std::path::{Path, PathBuf};

use super::{arm_config, budget_name};
use crate::config::{CompareConfig, FinetuneConfig};
use crate::error::Result;
use crate::metrics::Scores;
use crate::results::{Arm, FinetuneResults};
use crate::run_dir::{Manifest, is_done, read_json};
use crate::runs::Context;
use crate::runs::finetune::finetune;
use crate::trainer::SelectionMetric;

/// What a search may change; None keeps the config's value.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Setting {
    learning_rate: Option<f64>,
    max_epochs: Option<f64>,
    head_only_fraction: Option<f64>,
}

/// What was chosen.
#[derive(Default)]
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

impl Setting {
    /// Puts the setting into a config.
    pub fn apply(self, config: &mut FinetuneConfig) {
        config.optim.learning_rate = self.learning_rate.unwrap_or(config.optim.learning_rate);
        config.train.max_epochs = self.max_epochs.unwrap_or(config.train.max_epochs);
        let fraction = &mut config.classifier.head_only_fraction;
        *fraction = self.head_only_fraction.unwrap_or(*fraction);
    }

    fn name(self) -> String {
        let part = |name: &str, value: Option<f64>| value.map(|value| format!("-{name}{value}"));
        let parts = [
            part("lr", self.learning_rate),
            part("epochs", self.max_epochs),
            part("head", self.head_only_fraction),
        ];
        parts.into_iter().flatten().collect()
    }
}

/// Every combination of the lists; one, the config's own, without lists.
pub fn settings(config: &CompareConfig) -> Vec<Setting> {
    let or_own = |values: &[f64]| -> Vec<Option<f64>> {
        if values.is_empty() { vec![None] } else { values.iter().copied().map(Some).collect() }
    };
    let mut settings = Vec::new();
    for learning_rate in or_own(&config.search.learning_rates) {
        for max_epochs in or_own(&config.search.max_epochs) {
            for head_only_fraction in or_own(&config.search.head_only_fractions) {
                settings.push(Setting { learning_rate, max_epochs, head_only_fraction });
            }
        }
    }
    settings
}

/// What settings are compared by, the first entry first.
fn rank(metric: SelectionMetric, validation: &Scores) -> (f64, f64) {
    (metric.of(validation), -validation.loss)
}

/// Whether every setting trains the head alone first.
pub fn always_head_first(config: &CompareConfig) -> bool {
    settings(config).into_iter().all(|setting| {
        let mut one = config.finetune.clone();
        setting.apply(&mut one);
        one.classifier.head_only_fraction > 0.0
    })
}

/// The setting of the best validation score, by the selection metric, on the first seed; of equals the one of lower
/// validation loss. Test rows have no part in it. The longer arm takes what was chosen for the plain one from scratch,
/// but not its run.
pub fn choose(
    config: &CompareConfig,
    pretrained: &str,
    arm: Arm,
    budget: usize,
    context: &Context,
) -> Result<Choice> {
    let settings = settings(config);
    if let [only] = settings[..] {
        return Ok(Choice { setting: only, run: None });
    }
    let longer = arm == Arm::ScratchMatched;
    let arm = if longer { Arm::Scratch } else { arm };
    let metric = config.finetune.classifier.selection_metric;
    let mut best: Option<((f64, f64), Choice)> = None;
    for setting in settings {
        let mut one = arm_config(config, pretrained, arm, budget, config.seeds[0])?;
        let name = format!("{}-{}{}", arm.key(), budget_name(budget), setting.name());
        one.output_dir = Path::new(&config.output_dir).join("search").join(name).display().to_string();
        setting.apply(&mut one);
        if !is_done(Path::new(&one.output_dir)) {
            finetune(&one, context)?;
        }
        let found: FinetuneResults = read_json(Path::new(&one.output_dir), "results.json")?;
        let score = rank(metric, &found.scores.validation);
        if best.as_ref().is_none_or(|(so_far, _)| score > *so_far) {
            let run = (!longer).then(|| PathBuf::from(&one.output_dir));
            best = Some((score, Choice { setting, run }));
        }
    }
    Ok(best.map(|(_, choice)| choice).unwrap_or_default())
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
