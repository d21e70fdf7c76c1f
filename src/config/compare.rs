//! What `train compare` is told.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::finetune::{AUDIT_THRESHOLD, AuditMode, FinetuneConfig};
use super::loadable::Config;
use super::pretrain::{PretrainConfig, SCRATCH};
use crate::data::LabelledConfig;
use crate::error::{Error, Result};
use crate::results::StartName;
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
    /// Cross-validation in so many folds instead of one test part: each seed divides the rows of all files anew, and
    /// every row is tested once. 0 for none.
    #[schemars(range(max = 1000))]
    pub folds: usize,
    /// A finished pre-training to start from, or what `init_from` takes else; empty runs the one described in `pretrain`.
    pub pretrained: String,
    /// Further models to start from, by the names that they have in the tables: each is an arm of its own, fine-tuned
    /// on the rows of `finetune`. Settings are its own too; those left out follow from the data.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub starts: BTreeMap<String, FinetuneConfig>,
    /// What to do about rows of validation and test that were seen before: `off`, `warn`, `drop`, `deny`.
    pub audit: AuditMode,
    /// Jaccard similarity of word triples from which two texts count as nearly the same.
    #[schemars(range(max = 1), extend("exclusiveMinimum" = 0))]
    pub audit_threshold: f64,
    /// Run a further arm from scratch that gets the tokens of pre-training as more fine-tuning.
    pub match_compute: bool,
    /// Arms whose F1 differs by less than this count as the same, where the tests say so.
    #[schemars(extend("exclusiveMinimum" = 0), extend("exclusiveMaximum" = 1))]
    pub equivalence_margin: f64,
    /// Pre-training checkpoints to fine-tune too, at the smallest budget; 0 for none.
    pub transfer_checkpoints: usize,
    /// Settings tried per arm and budget; the best on validation is used for all seeds. With folds it is chosen on the
    /// training and validation rows of each fold.
    pub search: SearchConfig,
    /// The pre-training.
    pub pretrain: PretrainConfig,
    /// Both arms; `init_from`, `seed`, `output_dir`, `device`, `audit`, the budget, model and tokenizer are filled in.
    pub finetune: FinetuneConfig,
}

/// Keys below `finetune` and `pretrain` that a comparison sets itself, and from what.
const FILLED_IN: [(&str, &str); 16] = [
    ("/finetune/output_dir", "each run gets a folder in output_dir"),
    ("/finetune/seed", "seeds gives it"),
    ("/finetune/init_from", "each arm has its own; `pretrained` names a finished model"),
    ("/finetune/device", "device is that of all runs"),
    ("/finetune/model", "both arms take the sizes of the pre-trained model"),
    ("/finetune/tokenizer", "both arms take the tokenizer of the pre-trained model"),
    ("/finetune/audit", "audit is that of the comparison"),
    ("/finetune/audit_threshold", "audit_threshold is that of the comparison"),
    ("/finetune/classifier/with_ngrams", "every arm also has a row with n-grams"),
    ("/finetune/data/folds", "folds is that of the comparison"),
    ("/finetune/data/fold", "each fold is tested"),
    ("/finetune/data/fold_seed", "seeds gives it"),
    ("/finetune/data/label_budget", "budgets gives it"),
    ("/finetune/data/budget_seed", "seeds gives it"),
    ("/pretrain/output_dir", "it is the folder pretrain in output_dir"),
    ("/pretrain/device", "device is that of all runs"),
];

/// Keys of further starts that a comparison sets itself, and from what.
const FILLED_IN_OF_STARTS: [(&str, &str); 11] = [
    ("/output_dir", "each run gets a folder in output_dir"),
    ("/seed", "seeds gives it"),
    ("/device", "device is that of all runs"),
    ("/model", "a start has sizes of its own"),
    ("/tokenizer", "a start has a tokenizer of its own"),
    ("/audit", "audit is that of the comparison"),
    ("/audit_threshold", "audit_threshold is that of the comparison"),
    ("/data", "all arms have the rows of finetune.data"),
    ("/decision", "all arms answer by finetune.decision"),
    ("/classifier/with_ngrams", "every arm also has a row with n-grams"),
    ("/mistakes", "finetune.mistakes is that of all arms"),
];

/// `[search]` of compare: every combination is tried, for both arms alike. An empty list keeps the config's value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SearchConfig {
    /// Seeds that each setting is tried with; the mean of their scores decides.
    #[schemars(range(min = 1, max = 1000))]
    pub seeds: usize,
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

impl Default for SearchConfig {
    fn default() -> Self {
        let (learning_rates, max_epochs, head_only_fractions) = Default::default();
        Self { seeds: 3, learning_rates, max_epochs, head_only_fractions }
    }
}

impl Default for CompareConfig {
    fn default() -> Self {
        Self {
            output_dir: "runs/compare".into(),
            device: "auto".into(),
            seeds: vec![1, 2, 3],
            budgets: vec![100, 0],
            folds: 0,
            pretrained: String::new(),
            starts: BTreeMap::new(),
            audit: AuditMode::Warn,
            audit_threshold: AUDIT_THRESHOLD,
            match_compute: false,
            equivalence_margin: 0.02,
            transfer_checkpoints: 0,
            search: SearchConfig::default(),
            pretrain: PretrainConfig::default(),
            finetune: FinetuneConfig::default(),
        }
    }
}

impl CompareConfig {
    /// Errors: one fold, a share of validation that folds leave no room for, or a transfer curve over folds (2).
    fn check_folds(&self) -> Result<()> {
        if self.folds == 0 {
            return Ok(());
        }
        if self.folds == 1 {
            return Err(Error::usage("folds is 1; it must be 2 or more, or 0 for none"));
        }
        if self.transfer_checkpoints > 0 {
            return Err(Error::usage("folds and transfer_checkpoints exclude each other; leave one out"));
        }
        let first = LabelledConfig { folds: self.folds, fold: 1, ..self.finetune.data.clone() };
        first.check().map_err(|cause| Error::usage(format!("[finetune] {cause}")))
    }

    /// Errors: a further start without a model, or with a name that cannot be one (2).
    fn check_starts(&self) -> Result<()> {
        for (name, start) in &self.starts {
            if StartName::new(name).is_none() {
                let longest = StartName::LONGEST;
                let form =
                    format!("up to {longest} small letters, digits and hyphens, beginning with a letter");
                let why =
                    format!("starts.{name}: the name of a start has {form}, and is not that of another arm");
                return Err(Error::usage(why));
            }
            if matches!(&start.init_from[..], "" | SCRATCH) {
                let why = format!("starts.{name}.init_from must name the model that this arm starts from");
                return Err(Error::usage(why));
            }
            let within = |cause: Error| Error::usage(format!("[starts.{name}] {cause}"));
            start.check_sections().map_err(within)?;
        }
        Ok(())
    }

    /// Errors: a key that the comparison sets itself has a value of its own, which would have no effect (2).
    fn check_filled_in(&self) -> Result<()> {
        let json = |config: &Self| serde_json::to_value(config).map_err(Error::usage);
        let (own, default) = (json(self)?, json(&Self::default())?);
        FILLED_IN.iter().try_for_each(|(key, source)| has_default(&own, &default, "", key, source))?;
        for name in self.starts.keys() {
            let (own, section) = (&own["starts"][name], format!("starts.{name}"));
            let of_start =
                |(key, source): &(&str, &str)| has_default(own, &default["finetune"], &section, key, source);
            FILLED_IN_OF_STARTS.iter().try_for_each(of_start)?;
        }
        Ok(())
    }
}

/// Errors: the value at the pointer `key` of `own`, the part `section` of the config, is not the default (2).
fn has_default(own: &Value, default: &Value, section: &str, key: &str, source: &str) -> Result<()> {
    let value = |of: &Value| of.pointer(key).cloned().unwrap_or_default();
    let (own, default) = (value(own), value(default));
    if own == default {
        return Ok(());
    }
    let name = format!("{section}{}", key.replace('/', "."));
    let key = differing(name.trim_start_matches('.').into(), &own, &default);
    Err(Error::usage(format!("{key} has no effect in a comparison: {source}; leave it out")))
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
        self.check_folds()?;
        self.check_starts()?;
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
