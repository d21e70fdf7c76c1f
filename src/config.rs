//! The three configs: sections that live with their owners, composed, loaded from TOML and checked.
//!
//! Layer 6. Defaults < file < `--set`. Everything that can be known to be wrong before work starts is said
//! here, with file and line or the `--set` it came from.

use std::path::Path;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::data::{CorpusConfig, LabelledConfig};
use crate::error::{Error, Result};
use crate::files;
use crate::generate::Sampling;
use crate::metrics::decision::DecisionConfig;
use crate::model::{LoraConfig, ModelConfig};
use crate::optim::OptimConfig;
use crate::tokenizer::TokenizerConfig;
use crate::trainer::{ClassifierConfig, Freeze, TrainConfig};

/// Texts of this Jaccard similarity or more are near.
const AUDIT_THRESHOLD: f64 = 0.8;
/// Value of `init_from` that starts with random weights.
pub const SCRATCH: &str = "scratch";

/// Config of `train pretrain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PretrainConfig {
    /// Run directory.
    pub output_dir: String,
    /// Seed of weights, data order, dropout and samples.
    pub seed: u64,
    /// `scratch`, a run directory, a Hugging Face folder or `hf://OWNER/NAME[@REVISION]`.
    pub init_from: String,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// Prompts continued after training; an empty prompt starts a text.
    pub prompts: Vec<String>,
    /// How they are continued.
    pub sampling: Sampling,
    /// Held-out prompts for BLEU; 0 leaves it out.
    pub bleu_prompts: usize,
    /// Text.
    pub data: CorpusConfig,
    /// Tokenizer.
    pub tokenizer: TokenizerConfig,
    /// Sizes.
    pub model: ModelConfig,
    /// Loop.
    pub train: TrainConfig,
    /// Optimizer.
    pub optim: OptimConfig,
}

/// Config of `train finetune`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FinetuneConfig {
    /// Run directory.
    pub output_dir: String,
    /// Seed of head, data order and dropout, and of all weights from scratch.
    pub seed: u64,
    /// `scratch`, a run directory, a Hugging Face folder or `hf://OWNER/NAME[@REVISION]`.
    pub init_from: String,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// Labelled rows.
    pub data: LabelledConfig,
    /// Tokenizer from scratch; otherwise it must be that of the pre-trained model or empty.
    pub tokenizer: TokenizerConfig,
    /// Sizes from scratch; otherwise they must be those of the pre-trained model or absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ModelConfig")]
    pub model: Option<ModelConfig>,
    /// Head.
    pub classifier: ClassifierConfig,
    /// Train low-rank updates and the head alone; absent trains what `classifier.freeze` leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LoraConfig")]
    pub lora: Option<LoraConfig>,
    /// When a row is called positive; for two labels.
    pub decision: DecisionConfig,
    /// What to do about rows of validation and test that were seen before: `off`, `warn`, `drop`, `deny`.
    pub audit: AuditMode,
    /// Jaccard similarity of word triples from which two texts count as nearly the same.
    #[schemars(range(max = 1), extend("exclusiveMinimum" = 0))]
    pub audit_threshold: f64,
    /// Most confident wrong answers kept with their texts in mistakes.jsonl and the report; 0 keeps none.
    pub mistakes: usize,
    /// Loop.
    pub train: TrainConfig,
    /// Optimizer.
    pub optim: OptimConfig,
}

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

/// What a run does about rows that leak: test rows that stand, exactly or nearly, in training, validation or the
/// text of the pre-training, and validation rows that stand in training or that text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuditMode {
    /// Does not look.
    Off,
    /// Says so, and scores the other test rows beside.
    #[default]
    Warn,
    /// Leaves them out: such test rows of every score, such validation rows of every choice.
    Drop,
    /// Stops before any training (exit 3).
    Deny,
}

/// `[search]` of compare: every combination is tried, for both arms alike. An empty list keeps the config's value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SearchConfig {
    /// Values of `finetune.optim.learning_rate`.
    pub learning_rates: Vec<f64>,
    /// Values of `finetune.train.max_epochs`; its other limits still hold.
    pub max_epochs: Vec<f64>,
    /// Values of `finetune.classifier.head_only_fraction`.
    pub head_only_fractions: Vec<f64>,
}

impl Default for PretrainConfig {
    fn default() -> Self {
        Self {
            output_dir: "runs/pretrain".into(),
            seed: 1,
            init_from: SCRATCH.into(),
            device: "auto".into(),
            prompts: vec![String::new(), "I was going to".into()],
            sampling: Sampling::default(),
            bleu_prompts: 64,
            data: CorpusConfig::default(),
            tokenizer: TokenizerConfig::default(),
            model: ModelConfig::default(),
            train: TrainConfig { max_epochs: 1.0, ..TrainConfig::default() },
            optim: OptimConfig::default(),
        }
    }
}

impl Default for FinetuneConfig {
    fn default() -> Self {
        Self {
            output_dir: "runs/finetune".into(),
            seed: 1,
            init_from: SCRATCH.into(),
            device: "auto".into(),
            data: LabelledConfig::default(),
            tokenizer: TokenizerConfig::default(),
            model: None,
            classifier: ClassifierConfig::default(),
            lora: None,
            decision: DecisionConfig::default(),
            audit: AuditMode::Warn,
            audit_threshold: AUDIT_THRESHOLD,
            mistakes: 20,
            train: TrainConfig {
                micro_batch_size: 16,
                dropout: 0.1,
                max_epochs: 10.0,
                ..TrainConfig::default()
            },
            optim: OptimConfig {
                learning_rate: 5e-4,
                warmup_steps: 20,
                weight_decay: 0.05,
                beta2: 0.98,
                ..OptimConfig::default()
            },
        }
    }
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

/// A config that can be loaded.
pub trait Config: DeserializeOwned + Serialize + Default {
    /// Errors: values that do not fit each other, by key (exit 2).
    fn check(&self) -> Result<()>;
}

impl Config for PretrainConfig {
    fn check(&self) -> Result<()> {
        self.data.check()?;
        self.tokenizer.check()?;
        self.sampling.check()?;
        self.model.check().map_err(Error::usage)?;
        self.train.check(self.model.max_position_embeddings())?;
        self.optim.check()
    }
}

impl Config for FinetuneConfig {
    fn check(&self) -> Result<()> {
        self.data.check()?;
        self.tokenizer.check()?;
        self.classifier.check()?;
        self.decision.check()?;
        check_audit_threshold(self.audit_threshold)?;
        if let Some(lora) = &self.lora {
            lora.check().map_err(Error::usage)?;
            if self.classifier.freeze != Freeze::None {
                let why = "classifier.freeze and [lora], which freezes all but its updates and the head, exclude \
                           each other; leave one out";
                return Err(Error::usage(why));
            }
        }
        if let Some(model) = &self.model {
            model.check().map_err(Error::usage)?;
        }
        let positions = self.model.as_ref().map_or(usize::MAX, ModelConfig::max_position_embeddings);
        self.train.check(positions)?;
        self.optim.check()
    }
}

fn check_audit_threshold(value: f64) -> Result<()> {
    if value > 0.0 && value <= 1.0 {
        return Ok(());
    }
    Err(Error::usage(format!("audit_threshold is {value}; it must lie above 0, up to 1")))
}

impl Config for CompareConfig {
    fn check(&self) -> Result<()> {
        let distinct = |values: usize, all: usize| all > 0 && values == all;
        let seeds: std::collections::BTreeSet<_> = self.seeds.iter().collect();
        let budgets: std::collections::BTreeSet<_> = self.budgets.iter().collect();
        if !distinct(seeds.len(), self.seeds.len()) || !distinct(budgets.len(), self.budgets.len()) {
            return Err(Error::usage("seeds and budgets must each name at least one value, and none twice"));
        }
        check_audit_threshold(self.audit_threshold)?;
        for (key, values) in
            [("learning_rates", &self.search.learning_rates), ("max_epochs", &self.search.max_epochs)]
        {
            if let Some(value) = values.iter().find(|value| !(**value > 0.0 && value.is_finite())) {
                return Err(Error::usage(format!("search.{key} holds {value}; values must be above 0")));
            }
        }
        if self.transfer_checkpoints > 0
            && self.pretrained.is_empty()
            && self.pretrain.train.save_interval == 0
        {
            let why = "transfer_checkpoints needs checkpoints; set pretrain.train.save_interval above 0";
            return Err(Error::usage(why));
        }
        self.pretrain.check()?;
        self.finetune.check()?;
        for &head_only_fraction in &self.search.head_only_fractions {
            let tried = ClassifierConfig { head_only_fraction, ..self.finetune.classifier.clone() }.check();
            tried.map_err(|cause| Error::usage(format!("search.head_only_fractions: {cause}")))?;
        }
        Ok(())
    }
}

/// Loads a config file, applies `--set key=value` in order and checks the result.
///
/// Errors (all exit 2 but a missing file, 66): not UTF-8 or not TOML, an unknown key with the nearest known
/// one, a wrong type, a value out of range.
pub fn load<C: Config>(path: &Path, sets: &[String]) -> Result<C> {
    let bytes = files::read(path).map_err(|cause| match path.is_dir() {
        true => Error::usage(format!("config {} is a folder; name a TOML file", path.display())),
        false => cause,
    })?;
    let text = String::from_utf8(bytes).map_err(|cause| {
        let good = &cause.as_bytes()[..cause.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        Error::usage(format!("{}:{line}: the config is not UTF-8 text; save it as UTF-8", path.display()))
    })?;
    if text.trim().is_empty() {
        return Err(Error::usage(format!(
            "{}:1: the config is empty; see configs/ for examples",
            path.display()
        )));
    }
    parse(&path.display().to_string(), &text, sets)
}

/// As `load`, for text already in memory; `name` is used in errors.
pub fn parse<C: Config>(name: &str, text: &str, sets: &[String]) -> Result<C> {
    let at = |offset: usize| {
        let line =
            1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count();
        format!("{name}:{line}")
    };
    let mut table: Table = toml::from_str(text).map_err(|cause: toml::de::Error| {
        Error::usage(format!("{}: {}", at(cause.span().map_or(0, |span| span.start)), cause.message()))
    })?;
    let known = known_keys::<C>();
    check_keys(&table, &known, |key| match line_of(text, key) {
        Some(line) => format!("{name}:{line}"),
        None => name.to_string(),
    })?;
    let mut config: C = toml::from_str(text).map_err(|cause: toml::de::Error| {
        Error::usage(format!("{}: {}", at(cause.span().map_or(0, |span| span.start)), cause.message()))
    })?;
    for set in sets {
        let (key, value) = assignment(set)?;
        insert(&mut table, &key, value, set)?;
        check_keys(&table, &known, |_| format!("--set {set}"))?;
        config = table
            .clone()
            .try_into()
            .map_err(|cause: toml::de::Error| Error::usage(format!("--set {set}: {}", cause.message())))?;
    }
    config.check()?;
    Ok(config)
}

/// The config as TOML with every key.
pub fn to_toml(config: &impl Serialize) -> Result<String> {
    toml::to_string_pretty(config).map_err(|cause| Error::usage(format!("config cannot be written: {cause}")))
}

/// JSON Schema (2020-12) of a config: every key with its type and default, and no others; editors complete by it.
pub fn schema<C: Config>() -> serde_json::Value {
    let mut defaults = Table::try_from(C::default()).unwrap_or_default();
    add_absent(&mut defaults);
    let mut schema = schema_of(&Value::Table(defaults));
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema
}

/// Puts in what is absent by default: the keys of both families wherever a model may be described, and `[lora]`.
fn add_absent(table: &mut Table) {
    // Fine-tuning has no model of its own by default.
    if table.contains_key("model") || table.contains_key("classifier") {
        let families = [ModelConfig::Gpt2(Default::default()), ModelConfig::Llama(Default::default())];
        let keys = families.iter().filter_map(|model| Table::try_from(model).ok()).flatten();
        table.insert("model".into(), Value::Table(keys.collect()));
    }
    if table.contains_key("classifier") {
        table.insert("lora".into(), Value::Table(Table::try_from(LoraConfig::default()).unwrap_or_default()));
    }
    for inner in table.iter_mut().filter_map(|(_, value)| value.as_table_mut()) {
        add_absent(inner);
    }
}

fn schema_of(default: &Value) -> serde_json::Value {
    use serde_json::json;
    let kind = match default {
        Value::Table(keys) => {
            let properties: serde_json::Map<_, _> =
                keys.iter().map(|(key, value)| (key.clone(), schema_of(value))).collect();
            return json!({"type": "object", "additionalProperties": false, "properties": properties});
        }
        Value::String(_) | Value::Datetime(_) => "string",
        Value::Integer(_) => "integer",
        Value::Float(_) => "number",
        Value::Boolean(_) => "boolean",
        Value::Array(_) => "array",
    };
    json!({"type": kind, "default": default})
}

/// Dotted names of all keys, those of both model families and of what is absent by default among them.
fn known_keys<C: Config>() -> Vec<String> {
    let mut defaults = Table::try_from(C::default()).unwrap_or_default();
    add_absent(&mut defaults);
    let mut keys = Vec::new();
    flatten(&defaults, "", &mut keys);
    keys
}

fn flatten(table: &Table, prefix: &str, keys: &mut Vec<String>) {
    for (key, value) in table {
        match value {
            Value::Table(inner) => flatten(inner, &format!("{prefix}{key}."), keys),
            _ => keys.push(format!("{prefix}{key}")),
        }
    }
}

fn check_keys(table: &Table, known: &[String], place: impl Fn(&str) -> String) -> Result<()> {
    let mut keys = Vec::new();
    flatten(table, "", &mut keys);
    let Some(unknown) = keys.iter().find(|key| !known.contains(key)) else { return Ok(()) };
    let nearest = known.iter().map(|key| (similarity(unknown, key), key)).max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = match nearest {
        Some((similarity, key)) if similarity > 0.6 => format!("did you mean '{key}'?"),
        _ => "train config check prints all keys".to_string(),
    };
    Err(Error::usage(format!("{}: unknown key '{unknown}', {hint}", place(unknown))))
}

/// A key in the wrong section is near too.
fn similarity(a: &str, b: &str) -> f64 {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_string();
    strsim::jaro_winkler(a, b).max(0.95 * strsim::jaro_winkler(&last(a), &last(b)))
}

/// Line on which the last part of a dotted key is set, in its section where there is one.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
    let mut current = String::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            current = header.trim().to_string();
        } else if current == section && line.split('=').next().is_some_and(|left| left.trim() == name) {
            return Some(number + 1);
        }
    }
    None
}

fn assignment(set: &str) -> Result<(String, Value)> {
    let Some((key, value)) = set.split_once('=') else {
        return Err(Error::usage(format!("--set {set}: expected key=value, such as train.max_steps=200")));
    };
    let (key, value) = (key.trim(), value.trim());
    let parsed: Option<Table> = toml::from_str(&format!("value = {value}")).ok();
    // What is not TOML by itself is a string without its quotes.
    let value =
        parsed.and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(value.into()));
    Ok((key.to_string(), value))
}

fn insert(table: &mut Table, key: &str, value: Value, set: &str) -> Result<()> {
    let Some((section, rest)) = key.split_once('.') else {
        table.insert(key.into(), value);
        return Ok(());
    };
    let inner = table.entry(section.to_string()).or_insert_with(|| Value::Table(Table::new()));
    match inner {
        Value::Table(inner) => insert(inner, rest, value, set),
        _ => Err(Error::usage(format!("--set {set}: '{section}' is not a section"))),
    }
}
