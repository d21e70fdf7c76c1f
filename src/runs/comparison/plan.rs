//! The plan of a comparison: which runs it consists of, and the config of each. Nothing is read or written here.

use std::path::Path;

use crate::config::{AuditMode, CompareConfig, FinetuneConfig, PretrainConfig, SCRATCH};
use crate::data::LabelledConfig;
use crate::model::ModelConfig;
use crate::results::{Arm, StartName, cell_folder};

/// What a search may change; None keeps the config's value.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Setting {
    learning_rate: Option<f64>,
    max_epochs: Option<f64>,
    head_only_fraction: Option<f64>,
}

impl Setting {
    fn apply(self, config: &mut FinetuneConfig) {
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

/// Where in the table a run stands, beside its arm and budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Seed of rows, order and head, and of the folds.
    pub seed: u64,
    /// Fold that is tested, from 1; 0 without folds.
    pub fold: usize,
}

/// A setting and the runs that try it.
pub struct Trial {
    /// What is tried.
    pub setting: Setting,
    /// One for each seed.
    pub runs: Vec<FinetuneConfig>,
}

/// The same run with this many tokens as the only limit.
pub fn with_tokens(mut config: FinetuneConfig, tokens: u64) -> FinetuneConfig {
    let train = &mut config.train;
    train.max_tokens = tokens;
    (train.max_steps, train.max_epochs, train.max_minutes) = (0, 0.0, 0.0);
    config
}

/// A comparison and the pre-trained model that sizes and tokenizer of all its runs come from.
pub struct Plan<'a> {
    /// The comparison.
    pub config: &'a CompareConfig,
    /// Where the pre-trained arm starts: a run directory or a Hugging Face folder.
    pub pretrained: &'a str,
    /// Tokens of the pre-training, which the longer arm gets too; 0 where no arm asks.
    pub pretraining_tokens: u64,
    /// The model's folder.
    pub tokenizer: String,
    /// Its sizes.
    pub model: ModelConfig,
}

impl Plan<'_> {
    /// One run of the table; `output_dir` is its folder. The arms of a place and budget share rows and seed. They differ in
    /// `init_from`, in where they are stored, in what a search chose and in what open settings become; further starts have
    /// settings of their own.
    pub fn run(&self, arm: Arm, budget: usize, place: Place, setting: Setting) -> FinetuneConfig {
        let FinetuneConfig { decision, mistakes, .. } = self.config.finetune.clone();
        let of_arm = match arm {
            Arm::Start(name) => {
                FinetuneConfig { decision, mistakes, ..self.config.starts[&name.to_string()].clone() }
            }
            _ => self.own_start(if arm == Arm::Pretrained { self.pretrained } else { SCRATCH }),
        };
        let Place { seed, fold } = place;
        let output_dir = self.path(cell_folder(arm, &budget_name(budget), seed, fold));
        let mut config = FinetuneConfig {
            output_dir,
            device: self.config.device.clone(),
            seed,
            // Once for all runs, before the first.
            audit: AuditMode::Off,
            ..of_arm
        };
        config.data = data(self.config, budget, place);
        setting.apply(&mut config);
        config
    }

    /// The settings of all runs with the sizes and the tokenizer of the pre-trained model, from these weights.
    fn own_start(&self, init_from: &str) -> FinetuneConfig {
        let mut config = self.config.finetune.clone();
        config.init_from = init_from.into();
        config.model = Some(self.model.clone());
        config.tokenizer.path.clone_from(&self.tokenizer);
        config
    }

    /// Every setting of the search, each with a run for every seed that it is tried with: the first ones of the
    /// comparison, or on a fold the own one, and the numbers after them.
    pub fn trials(&self, arm: Arm, budget: usize, place: Place) -> Vec<Trial> {
        let listed = if place.fold == 0 { &self.config.seeds[..] } else { &[place.seed] };
        let beyond = listed.iter().copied().max().unwrap_or(0).saturating_add(1)..;
        let seeds: Vec<u64> = listed.iter().copied().chain(beyond).take(self.config.search.seeds).collect();
        let run = |setting: Setting, seed: u64| {
            let mut config = self.run(arm, budget, place, setting);
            (config.seed, config.data.budget_seed) = (seed, seed);
            let name = format!("{}-{}{}-seed{seed}", arm.key(), budget_name(budget), setting.name());
            let of_fold =
                if place.fold > 0 { format!("-of{}-fold{}", place.seed, place.fold) } else { String::new() };
            config.output_dir = self.path(Path::new("search").join(name + &of_fold));
            config
        };
        let trial = |setting| Trial { setting, runs: seeds.iter().map(|seed| run(setting, *seed)).collect() };
        settings(self.config).into_iter().map(trial).collect()
    }

    /// A run of the pre-trained arm that starts from the model folder `start` instead.
    pub fn transfer_run(&self, start: &str, budget: usize, seed: u64, setting: Setting) -> FinetuneConfig {
        let mut config = self.run(Arm::Pretrained, budget, Place { seed, fold: 0 }, setting);
        config.init_from = start.into();
        config.output_dir = format!("{start}-{}-seed{seed}", budget_name(budget));
        config
    }

    fn path(&self, below: impl AsRef<Path>) -> String {
        Path::new(&self.config.output_dir).join(below).display().to_string()
    }
}

/// The rows of a place with so many labels; 0 stands for all.
pub fn data(config: &CompareConfig, budget: usize, Place { seed, fold }: Place) -> LabelledConfig {
    let mut data = config.finetune.data.clone();
    (data.label_budget, data.budget_seed) = (budget, seed);
    if fold > 0 {
        (data.folds, data.fold, data.fold_seed) = (config.folds, fold, seed);
    }
    data
}

/// The pre-training inside the comparison's directory.
pub fn pretraining(config: &CompareConfig) -> PretrainConfig {
    let mut pretraining = config.pretrain.clone();
    pretraining.output_dir = format!("{}/pretrain", config.output_dir);
    pretraining.device.clone_from(&config.device);
    if config.transfer_checkpoints > 0 {
        pretraining.train.keep_checkpoints = 0;
    }
    pretraining
}

/// The transformers that are trained.
pub fn arms(config: &CompareConfig) -> Vec<Arm> {
    let mut arms = vec![Arm::Pretrained];
    arms.extend(config.starts.keys().filter_map(|name| StartName::new(name)).map(Arm::Start));
    arms.push(Arm::Scratch);
    if config.match_compute {
        arms.push(Arm::ScratchMatched);
    }
    arms
}

/// Label budgets by rising number of labels.
pub fn budgets(config: &CompareConfig) -> Vec<usize> {
    let mut budgets = config.budgets.clone();
    budgets.sort_by_key(|budget| if *budget == 0 { usize::MAX } else { *budget });
    budgets
}

/// `all` or the number.
pub fn budget_name(budget: usize) -> String {
    if budget == 0 { "all".into() } else { budget.to_string() }
}

/// Every combination of the search's lists; one, the config's own, without lists.
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

/// Whether every setting trains the head alone first.
pub fn always_head_first(config: &CompareConfig) -> bool {
    settings(config).into_iter().all(|setting| {
        let mut one = config.finetune.clone();
        setting.apply(&mut one);
        one.classifier.head_only_fraction > 0.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Place = Place { seed: 2, fold: 0 };

    fn plan(config: &CompareConfig) -> Plan<'_> {
        let (tokenizer, model) = ("p/model".into(), ModelConfig::default());
        Plan { config, pretrained: "p", pretraining_tokens: 0, tokenizer, model }
    }

    #[test]
    fn the_arms_of_a_seed_and_budget_differ_in_their_start_and_place_alone() {
        let config = CompareConfig::default();
        let run = |arm| plan(&config).run(arm, 100, SECOND, Setting::default());
        let (a, b) = (run(Arm::Pretrained), run(Arm::Scratch));
        assert_eq!((&a.init_from[..], &b.init_from[..]), ("p", SCRATCH));
        assert_eq!(a.output_dir, "runs/compare/pretrained-100-seed2");
        let moved = FinetuneConfig { init_from: "p".into(), output_dir: a.output_dir.clone(), ..b };
        assert_eq!(moved, a);
    }

    #[test]
    fn a_further_start_has_settings_of_its_own_on_the_same_rows() {
        let mut config = CompareConfig::default();
        (config.finetune.data.train, config.finetune.train.max_steps) = ("rows".into(), 7);
        let start = FinetuneConfig { init_from: "m".into(), ..FinetuneConfig::default() };
        config.starts.insert("one".into(), start);
        let [own, one, scratch] = arms(&config)[..] else { panic!("three arms") };
        assert_eq!((own, scratch), (Arm::Pretrained, Arm::Scratch));
        let run = |arm| plan(&config).run(arm, 100, SECOND, Setting::default());
        let (own, one) = (run(own), run(one));
        assert_eq!((&one.init_from[..], &one.output_dir[..]), ("m", "runs/compare/one-100-seed2"));
        assert_eq!((one.model, &one.tokenizer.path[..]), (None, ""));
        assert_eq!((own.train.max_steps, one.train.max_steps), (7, 0));
        assert_eq!((one.data, one.seed), (own.data, own.seed));
    }

    #[test]
    fn every_combination_of_a_search_is_one_trial_with_a_folder_of_its_own() {
        let mut config = CompareConfig::default();
        config.search.learning_rates = vec![0.001, 0.01];
        config.search.max_epochs = vec![1.0, 2.0];
        let trials = plan(&config).trials(Arm::Scratch, 0, SECOND);
        assert_eq!(trials.len(), 4);
        let folder = |trial: usize, run: usize| &trials[trial].runs[run].output_dir[..];
        assert_eq!(folder(1, 0), "runs/compare/search/scratch-all-lr0.001-epochs2-seed1");
        assert_eq!(trials[3].runs.iter().map(|run| run.seed).collect::<Vec<_>>(), [1, 2, 3]);
        let last = &trials[3].runs[0];
        assert_eq!(
            (last.optim.learning_rate, last.train.max_epochs, &last.init_from[..]),
            (0.01, 2.0, SCRATCH)
        );
    }

    #[test]
    fn a_setting_is_tried_with_three_seeds_on_the_rows_of_its_fold() {
        let mut config = CompareConfig { folds: 5, seeds: vec![7, 9], ..CompareConfig::default() };
        config.search.learning_rates = vec![0.001];
        let trials = plan(&config).trials(Arm::Scratch, 0, Place { seed: 9, fold: 4 });
        let runs = &trials[0].runs;
        assert_eq!(runs.iter().map(|run| run.seed).collect::<Vec<_>>(), [9, 10, 11]);
        assert!(runs.iter().all(|run| (run.data.folds, run.data.fold, run.data.fold_seed) == (5, 4, 9)));
        assert_eq!(runs[1].output_dir, "runs/compare/search/scratch-all-lr0.001-seed10-of9-fold4");
    }
}
