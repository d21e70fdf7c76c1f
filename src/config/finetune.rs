//! What `train finetune` is told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::loadable::Config;
use super::pretrain::SCRATCH;
use crate::data::{LabelledConfig, LabelledSplit};
use crate::error::{Error, Result};
use crate::metrics::decision::DecisionConfig;
use crate::model::{LoraConfig, ModelConfig};
use crate::optim::OptimConfig;
use crate::tokenizer::TokenizerConfig;
use crate::trainer::{ClassifierConfig, Freeze, TrainConfig};

/// Texts of this Jaccard similarity or more are near.
pub(super) const AUDIT_THRESHOLD: f64 = 0.8;

/// Config of `train finetune`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FinetuneConfig {
    /// Run directory.
    pub output_dir: String,
    /// Seed of head, data order and dropout, and of all weights from scratch.
    pub seed: u64,
    /// `scratch`, a run directory, a Hugging Face folder, a GGUF file or `hf://OWNER/NAME[@REVISION]`.
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
    /// Loop; length of texts and run are left to the data where nothing is said.
    pub train: TrainConfig,
    /// Optimizer; a `learning_rate` of 0 takes what suits the start.
    pub optim: OptimConfig,
}

/// What a run does about rows that leak: test rows with an exact or near duplicate in training, validation or the
/// text of the pre-training, and validation rows with one in training or that text.
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
            train: TrainConfig { micro_batch_size: 16, dropout: 0.1, seq_len: 0, ..TrainConfig::default() },
            optim: OptimConfig {
                learning_rate: 0.0,
                warmup_steps: 20,
                weight_decay: 0.05,
                beta2: 0.98,
                ..OptimConfig::default()
            },
        }
    }
}

impl FinetuneConfig {
    /// Errors: a rule for a threshold where neither of two labels leads (2).
    pub fn check_decision(&self, split: &LabelledSplit) -> Result<()> {
        if self.decision == DecisionConfig::default() || split.positive_leads || split.label_names.len() != 2
        {
            return Ok(());
        }
        Err(Error::usage(
            "[decision] asks for a threshold, but both labels are common and neither is named by data.positive_label; \
             name the one that the threshold is about",
        ))
    }
}

impl Config for FinetuneConfig {
    const COMMAND: &str = "finetune";

    fn check_sections(&self) -> Result<()> {
        self.data.check()?;
        self.tokenizer.check()?;
        self.classifier.check()?;
        self.decision.check()?;
        if let Some(lora) = &self.lora {
            lora.check()?;
            if self.classifier.freeze != Freeze::None {
                let why = "classifier.freeze and [lora], which freezes all but its updates and the head, exclude \
                           each other; leave one out";
                return Err(Error::usage(why));
            }
        }
        if let Some(model) = &self.model {
            model.check()?;
        }
        let positions = self.model.as_ref().map_or(usize::MAX, ModelConfig::max_position_embeddings);
        self.train.check_open(positions)?;
        self.optim.check()
    }
}
