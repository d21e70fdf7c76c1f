//! The plan of a comparison: which runs it consists of, and the config of each. Nothing is read or written here.

use std::path::Path;

use crate::config::{AuditMode, CompareConfig, FinetuneConfig, PretrainConfig, SCRATCH};
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

/// One fine-tuning.
#[derive(Clone, Debug)]
pub struct Cell {
    /// From which weights.
    pub arm: Arm,
    /// Training labels; 0 stands for all.
    pub budget: usize,
    /// Seed of rows, order and head.
    pub seed: u64,
    /// What a search chose, or tries here.
    pub setting: Setting,
    /// All of it, as one run; `output_dir` is its folder.
    pub config: FinetuneConfig,
}

impl Cell {
    /// The same with this many tokens as the only limit.
    pub fn with_tokens(mut self, tokens: u64) -> Self {
        let train = &mut self.config.train;
        train.max_tokens = tokens;
        (train.max_steps, train.max_epochs, train.max_minutes) = (0, 0.0, 0.0);
        self
    }
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
    /// One cell of the table. The arms of one seed and budget differ in `init_from` alone, in where they are stored,
    /// in what a search chose for each, and in what open settings become for each start; further starts have settings of
    /// their own.
    fn cell(&self, arm: Arm, budget: usize, seed: u64, setting: Setting) -> Cell {
        let FinetuneConfig { data, decision, mistakes, .. } = self.config.finetune.clone();
        let of_arm = match arm {
            Arm::Start(name) => {
                FinetuneConfig { data, decision, mistakes, ..self.config.starts[&name.to_string()].clone() }
            }
            _ => self.own_start(if arm == Arm::Pretrained { self.pretrained } else { SCRATCH }),
        };
        let output_dir = self.path(cell_folder(arm, &budget_name(budget), seed));
        let mut config = FinetuneConfig {
            output_dir,
            device: self.config.device.clone(),
            seed,
            // Once for all runs, before the first.
            audit: AuditMode::Off,
            ..of_arm
        };
        (config.data.label_budget, config.data.budget_seed) = (budget, seed);
        setting.apply(&mut config);
        Cell { arm, budget, seed, setting, config }
    }

    /// The settings of all runs with the sizes and the tokenizer of the pre-trained model, from these weights.
    fn own_start(&self, init_from: &str) -> FinetuneConfig {
        let mut config = self.config.finetune.clone();
        config.init_from = init_from.into();
        config.model = Some(self.model.clone());
        config.tokenizer.path.clone_from(&self.tokenizer);
        config
    }

    /// All cells of a budget, seed by seed, each arm with its setting; the plain arm from scratch before the longer one.
    pub fn cells(&self, budget: usize, setting: impl Fn(Arm) -> Setting) -> Vec<Cell> {
        let arms = arms(self.config);
        let cell = |at: usize| {
            let (seed, arm) = (self.config.seeds[at / arms.len()], arms[at % arms.len()]);
            self.cell(arm, budget, seed, setting(arm))
        };
        (0..self.config.seeds.len() * arms.len()).map(cell).collect()
    }

    /// One trial for every setting, on the first seed.
    pub fn trials(&self, arm: Arm, budget: usize) -> Vec<Cell> {
        let trial = |setting: Setting| {
            let mut cell = self.cell(arm, budget, self.config.seeds[0], setting);
            let name = format!("{}-{}{}", arm.key(), budget_name(budget), setting.name());
            cell.config.output_dir = self.path(Path::new("search").join(name));
            cell
        };
        settings(self.config).into_iter().map(trial).collect()
    }

    /// A cell of the pre-trained arm that starts from the model folder `start` instead.
    pub fn transfer_cell(&self, start: &str, budget: usize, seed: u64, setting: Setting) -> Cell {
        let mut cell = self.cell(Arm::Pretrained, budget, seed, setting);
        cell.config.init_from = start.into();
        cell.config.output_dir = format!("{start}-{}-seed{seed}", budget_name(budget));
        cell
    }

    fn path(&self, below: impl AsRef<Path>) -> String {
        Path::new(&self.config.output_dir).join(below).display().to_string()
    }
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

    fn plan(config: &CompareConfig) -> Plan<'_> {
        let (tokenizer, model) = ("p/model".into(), ModelConfig::default());
        Plan { config, pretrained: "p", pretraining_tokens: 0, tokenizer, model }
    }

    #[test]
    fn the_arms_of_a_seed_and_budget_differ_in_their_start_and_place_alone() {
        let config = CompareConfig::default();
        let [a, b] =
            [Arm::Pretrained, Arm::Scratch].map(|arm| plan(&config).cell(arm, 100, 2, Setting::default()));
        assert_eq!((&a.config.init_from[..], &b.config.init_from[..]), ("p", SCRATCH));
        assert_eq!(a.config.output_dir, "runs/compare/pretrained-100-seed2");
        let moved =
            FinetuneConfig { init_from: "p".into(), output_dir: a.config.output_dir.clone(), ..b.config };
        assert_eq!(moved, a.config);
    }

    #[test]
    fn a_further_start_has_settings_of_its_own_on_the_same_rows() {
        let mut config = CompareConfig::default();
        (config.finetune.data.train, config.finetune.train.max_steps) = ("rows".into(), 7);
        let start = FinetuneConfig { init_from: "m".into(), ..FinetuneConfig::default() };
        config.starts.insert("one".into(), start);
        let [own, one, scratch] = arms(&config)[..] else { panic!("three arms") };
        assert_eq!((own, scratch), (Arm::Pretrained, Arm::Scratch));
        let cell = |arm| plan(&config).cell(arm, 100, 2, Setting::default()).config;
        let (own, one) = (cell(own), cell(one));
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
        let trials = plan(&config).trials(Arm::Scratch, 0);
        let folders: Vec<_> = trials.iter().map(|cell| cell.config.output_dir.clone()).collect();
        assert_eq!(folders[1], "runs/compare/search/scratch-all-lr0.001-epochs2");
        assert_eq!(trials.len(), 4);
        assert!(trials.iter().all(|cell| cell.seed == config.seeds[0] && cell.config.init_from == SCRATCH));
        assert_eq!((trials[3].config.optim.learning_rate, trials[3].config.train.max_epochs), (0.01, 2.0));
    }
}
