//! What `train compare` is told.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::finetune::{AUDIT_THRESHOLD, AuditMode, FinetuneConfig};
use super::load::Config;
use super::pretrain::PretrainConfig;
use crate::error::{Error, Result};
use crate::trainer::ClassifierConfig;

/// Config of `train compare`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CompareConfig {
    /// Directory of the comparison; each run has a folder in it.
    pub output_dir: String,
    /// `auto`, `cpu`, `cuda` or `cuda:N`, for all runs.
    pub device: String,
    /// One fine-tuning per seed, arm and budget.
    pub seeds: Vec<u64>,
    /// Training labels; 0 stands for all.
    pub budgets: Vec<usize>,
    /// A finished pre-training to start from; empty runs the one described in `pretrain`.
    pub pretrained: String,
    /// What to do about rows of validation and test that were seen before: `off`, `warn`, `drop`, `deny`.
    pub audit: AuditMode,
    /// Jaccard similarity of word triples from which two texts count as nearly the same.
    #[schemars(range(max = 1), extend("exclusiveMinimum" = 0))]
    pub audit_threshold: f64,
    /// Run a further arm from scratch that gets the tokens of pre-training as more fine-tuning.
    pub match_compute: bool,
    /// Pre-training checkpoints to fine-tune too, at the smallest budget; 0 for none.
    pub transfer_checkpoints: usize,
    /// Settings tried per arm and budget on the first seed; the best on validation is used for all seeds.
    pub search: SearchConfig,
    /// The pre-training.
    pub pretrain: PretrainConfig,
    /// Both arms; `init_from`, `seed`, `output_dir`, `audit`, model and tokenizer are filled in.
    pub finetune: FinetuneConfig,
}

/// `[search]` of compare: every combination is tried, for both arms alike. An empty list keeps the config's value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SearchConfig {
    /// Values of `finetune.optim.learning_rate`.
    #[schemars(extend("items" = {"type": "number", "exclusiveMinimum": 0}))]
    pub learning_rates: Vec<f64>,
    /// Values of `finetune.train.max_epochs`; its other limits still hold.
    #[schemars(extend("items" = {"type": "number", "exclusiveMinimum": 0}))]
    pub max_epochs: Vec<f64>,
    /// Values of `finetune.classifier.head_only_fraction`.
    #[schemars(extend("items" = {"type": "number", "minimum": 0, "exclusiveMaximum": 1}))]
    pub head_only_fractions: Vec<f64>,
}

impl Default for CompareConfig {
    fn default() -> Self {
        Self {
            output_dir: "runs/compare".into(),
            device: "auto".into(),
            seeds: vec![1, 2, 3],
            budgets: vec![100, 0],
            pretrained: String::new(),
            audit: AuditMode::Warn,
            audit_threshold: AUDIT_THRESHOLD,
            match_compute: false,
            transfer_checkpoints: 0,
            search: SearchConfig::default(),
            pretrain: PretrainConfig::default(),
            finetune: FinetuneConfig::default(),
        }
    }
}

impl Config for CompareConfig {
    fn check_sections(&self) -> Result<()> {
        let distinct = |values: usize, all: usize| all > 0 && values == all;
        let seeds: BTreeSet<_> = self.seeds.iter().collect();
        let budgets: BTreeSet<_> = self.budgets.iter().collect();
        if !distinct(seeds.len(), self.seeds.len()) || !distinct(budgets.len(), self.budgets.len()) {
            return Err(Error::usage("seeds and budgets must each name at least one value, and none twice"));
        }
        if self.transfer_checkpoints > 0
            && self.pretrained.is_empty()
            && self.pretrain.train.save_interval == 0
        {
            let why = "transfer_checkpoints needs checkpoints; set pretrain.train.save_interval above 0";
            return Err(Error::usage(why));
        }
        self.pretrain.check_sections()?;
        self.finetune.check_sections()?;
        for &head_only_fraction in &self.search.head_only_fractions {
            let tried = ClassifierConfig { head_only_fraction, ..self.finetune.classifier.clone() }.check();
            tried.map_err(|cause| Error::usage(format!("search.head_only_fractions: {cause}")))?;
        }
        Ok(())
    }
}
