//! What `train pretrain` is told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::loadable::Config;
use crate::data::CorpusConfig;
use crate::error::{Error, Result};
use crate::generate::Sampling;
use crate::model::ModelConfig;
use crate::optim::OptimConfig;
use crate::tokenizer::TokenizerConfig;
use crate::trainer::TrainConfig;

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
    /// `scratch`, a run directory, a Hugging Face folder, a GGUF file or `hf://OWNER/NAME[@REVISION]`.
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
            train: TrainConfig::default(),
            optim: OptimConfig::default(),
        }
    }
}

impl Config for PretrainConfig {
    const COMMAND: &str = "pretrain";

    fn check_sections(&self) -> Result<()> {
        self.data.check()?;
        self.tokenizer.check()?;
        self.sampling.check()?;
        self.model.check()?;
        if self.model.is_encoder() {
            let why = "pre-training teaches a model to write text, and an encoder writes none";
            return Err(Error::usage(format!("model.model_type: {why}; take \"llama\" or \"gpt2\"")));
        }
        self.train.check(self.model.max_position_embeddings())?;
        self.optim.check()
    }
}
