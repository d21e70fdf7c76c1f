//! What `train compare` is told.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::finetune::{AUDIT_THRESHOLD, AuditMode, FinetuneConfig};
use super::loadable::Config;
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
    /// A finished pre-training to start from, or what `init_from` takes else; empty runs the one described in `pretrain`.
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
    /// Both arms; `init_from`, `seed`, `output_dir`, `device`, `audit`, the budget, model and tokenizer are filled in.
    pub finetune: FinetuneConfig,
}

/// Keys below `finetune` and `pretrain` that a comparison sets itself, and from what.
const FILLED_IN: [(&str, &str); 12] = [
    ("/finetune/output_dir", "each run gets a folder in output_dir"),
    ("/finetune/seed", "seeds gives it"),
    ("/finetune/init_from", "each arm has its own; `pretrained` names a finished model"),
    ("/finetune/device", "device is that of all runs"),
    ("/finetune/model", "both arms take the sizes of the pre-trained model"),
    ("/finetune/tokenizer", "both arms take the tokenizer of the pre-trained model"),
    ("/finetune/audit", "audit is that of the comparison"),
    ("/finetune/audit_threshold", "audit_threshold is that of the comparison"),
    ("/finetune/data/label_budget", "budgets gives it"),
    ("/finetune/data/budget_seed", "seeds gives it"),
    ("/pretrain/output_dir", "it is the folder pretrain in output_dir"),
    ("/pretrain/device", "device is that of all runs"),
];

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

impl CompareConfig {
    /// Errors: a key that the comparison sets itself has a value of its own, which would have no effect (2).
    fn check_filled_in(&self) -> Result<()> {
        let json = |config: &Self| serde_json::to_value(config).map_err(Error::usage);
        let (own, default) = (json(self)?, json(&Self::default())?);
        let values =
            |key| (own.pointer(key).unwrap_or(&Value::Null), default.pointer(key).unwrap_or(&Value::Null));
        for (key, source) in FILLED_IN {
            let (own, default) = values(key);
            if own != default {
                let key = differing(key[1..].replace('/', "."), own, default);
                let why = format!("{key} has no effect in a comparison: {source}; leave it out");
                return Err(Error::usage(why));
            }
        }
        Ok(())
    }
}

/// The first key in or below `key` whose values differ.
fn differing(key: String, own: &Value, default: &Value) -> String {
    let inner = own.as_object().zip(default.as_object());
    match inner.and_then(|(own, _)| own.iter().find(|(name, value)| **value != default[name.as_str()])) {
        Some((name, value)) => differing(format!("{key}.{name}"), value, &default[name.as_str()]),
        None => key,
    }
}

impl Config for CompareConfig {
    const COMMAND: &str = "compare";

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
        self.check_filled_in()?;
        let within = |section: &'static str| move |cause: Error| Error::usage(format!("[{section}] {cause}"));
        self.pretrain.check_sections().map_err(within("pretrain"))?;
        self.finetune.check_sections().map_err(within("finetune"))?;
        for &head_only_fraction in &self.search.head_only_fractions {
            let tried = ClassifierConfig { head_only_fraction, ..self.finetune.classifier.clone() }.check();
            tried.map_err(|cause| Error::usage(format!("search.head_only_fractions: {cause}")))?;
        }
        Ok(())
    }
}
