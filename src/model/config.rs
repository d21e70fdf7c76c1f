//! `[model]`: the Hugging Face `config.json` keys of its `model_type`.
//!
//! Field names are those of transformers' configs, so the table is written out without a map. Keys that would
//! change the mathematics and are not built are not accepted. Here alone families are told apart.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::bert::BertConfig;
use super::gpt2::Gpt2Config;
use super::head::{Head, Pooling};
use super::llama::LlamaConfig;
use super::spec::{FamilyKeys, ModelSpec, ParamSpec, Sizes};
use crate::error::{Error, Result};
use crate::ranges;

/// No machine that this program runs on holds more.
const MAX_PARAMETERS: f64 = 1e12;

/// Which family, with its own keys.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "model_type", rename_all = "lowercase")]
pub enum ModelConfig {
    /// RMSNorm, rotary positions, SwiGLU, grouped-query attention.
    #[schemars(extend("required" = []))]
    Llama(LlamaConfig),
    /// LayerNorm with bias, learned positions, GELU (tanh form).
    Gpt2(Gpt2Config),
    /// An encoder: post-norm, learned positions, token types, GELU by the error function.
    Bert(BertConfig),
    /// An encoder: Llama's blocks, read in both directions.
    EuroBert(LlamaConfig),
    /// An encoder: GPT-2's blocks, read in both directions. A name of its own, so that nothing reads it as GPT-2.
    #[serde(rename = "gpt2_bidirectional")]
    BidirectionalGpt2(Gpt2Config),
}

impl Default for ModelConfig {
    fn default() -> Self {
        ModelConfig::Llama(LlamaConfig::default())
    }
}

impl ModelConfig {
    /// The family's config with what transformers takes for keys that a config.json leaves out.
    pub fn of_transformers(model_type: &str) -> Option<Self> {
        match model_type {
            "llama" => Some(Self::Llama(LlamaConfig::of_transformers())),
            "gpt2" => Some(Self::Gpt2(Gpt2Config::of_transformers())),
            "bert" => Some(Self::Bert(BertConfig::of_transformers())),
            "eurobert" => Some(Self::EuroBert(LlamaConfig::of_transformers_eurobert())),
            "gpt2_bidirectional" => Some(Self::BidirectionalGpt2(Gpt2Config::of_transformers())),
            _ => None,
        }
    }

    /// The sizes in the Llama words.
    pub fn sizes(&self) -> Sizes {
        match self {
            Self::Llama(c) | Self::EuroBert(c) => c.sizes(),
            Self::Gpt2(c) | Self::BidirectionalGpt2(c) => c.sizes(),
            Self::Bert(c) => c.sizes(),
        }
    }

    /// What the model is made of.
    pub fn spec(&self) -> ModelSpec {
        match self {
            Self::Llama(c) => c.spec(),
            Self::Gpt2(c) => c.spec(),
            Self::Bert(c) => c.spec(),
            Self::EuroBert(c) => c.encoder_spec(),
            Self::BidirectionalGpt2(c) => c.encoder_spec(),
        }
    }

    /// What transformers says of the family beside its keys.
    pub fn family_keys(&self) -> FamilyKeys {
        match self {
            Self::Llama(c) => c.family_keys(),
            Self::Gpt2(c) => c.family_keys(),
            Self::Bert(c) => c.family_keys(),
            Self::EuroBert(c) => c.encoder_keys(),
            Self::BidirectionalGpt2(c) => c.encoder_keys(),
        }
    }

    /// V.
    pub fn vocab_size(&self) -> usize {
        self.sizes().vocab_size
    }

    /// L.
    pub fn num_hidden_layers(&self) -> usize {
        self.sizes().num_hidden_layers
    }

    /// Longest sequence the model accepts, in tokens.
    pub fn max_position_embeddings(&self) -> usize {
        self.sizes().max_position_embeddings
    }

    /// Whether every token sees the whole text, so that the model labels text and cannot continue it.
    pub fn is_encoder(&self) -> bool {
        !matches!(self, Self::Llama(_) | Self::Gpt2(_))
    }

    /// The same blocks, whose tokens see the whole text.
    #[must_use]
    pub fn bidirectional(self) -> Self {
        match self {
            Self::Llama(c) => Self::EuroBert(c),
            Self::Gpt2(c) => Self::BidirectionalGpt2(c),
            encoder => encoder,
        }
    }

    /// What transformers' classifier of the family reads, where it has one that is built here.
    pub fn pooling_of_transformers(&self) -> Option<Pooling> {
        match self {
            Self::EuroBert(_) => Some(Pooling::Mean),
            _ => self.pooling_unsaid(),
        }
    }

    /// Whether transformers has a classifier of the family that pools so.
    pub fn is_of_transformers(&self, pooling: Pooling) -> bool {
        self.pooling_of_transformers() == Some(pooling)
    }

    /// What transformers' classifier of the family reads where config.json does not say so; none where that is not
    /// built here.
    pub fn pooling_unsaid(&self) -> Option<Pooling> {
        match self {
            Self::Llama(_) | Self::Gpt2(_) => Some(Pooling::Last),
            Self::Bert(_) => Some(Pooling::First),
            Self::EuroBert(_) | Self::BidirectionalGpt2(_) => None,
        }
    }

    /// Whether the head of the language model is the embedding transposed.
    pub fn tie_word_embeddings(&self) -> bool {
        match self {
            Self::Llama(c) => c.tie_word_embeddings,
            Self::Gpt2(c) => c.tie_word_embeddings,
            Self::Bert(_) | Self::EuroBert(_) | Self::BidirectionalGpt2(_) => true,
        }
    }

    /// The same model with `vocab_size` rows in its embedding.
    pub fn with_vocab_size(&self, vocab_size: usize) -> Self {
        let mut config = self.clone();
        match &mut config {
            Self::Llama(c) | Self::EuroBert(c) => c.vocab_size = vocab_size,
            Self::Gpt2(c) | Self::BidirectionalGpt2(c) => c.vocab_size = vocab_size,
            Self::Bert(c) => c.vocab_size = vocab_size,
        }
        config
    }

    /// The same model with this many blocks.
    pub fn with_num_hidden_layers(&self, layers: usize) -> Self {
        let mut config = self.clone();
        match &mut config {
            Self::Llama(c) | Self::EuroBert(c) => c.num_hidden_layers = layers,
            Self::Gpt2(c) | Self::BidirectionalGpt2(c) => c.n_layer = layers,
            Self::Bert(c) => c.num_hidden_layers = layers,
        }
        config
    }

    /// Checks that the sizes fit each other.
    ///
    /// Errors: a size outside its range, or sizes that do not divide each other (2).
    pub fn check(&self) -> Result<()> {
        ranges::check("model", self)?;
        let sizes = self.sizes();
        let (c, h, k) = (sizes.hidden_size, sizes.num_attention_heads, sizes.num_key_value_heads);
        let wrong = |why: String| Err(Error::usage(format!("model: {why}")));
        if c % h != 0 {
            return wrong(format!("hidden size {c} is not divisible by {h} attention heads"));
        }
        if h % k != 0 {
            return wrong(format!("{h} attention heads are not divisible by {k} key-value heads"));
        }
        if matches!(self, Self::Llama(_) | Self::EuroBert(_)) && !sizes.head_dim.is_multiple_of(2) {
            return wrong(format!("rotary positions need an even head_dim, got {}", sizes.head_dim));
        }
        match sizes.about_parameters() {
            count if count > MAX_PARAMETERS => {
                wrong(format!("its sizes make {count:.1e} parameters; the most are {MAX_PARAMETERS:.0e}"))
            }
            _ => Ok(()),
        }
    }
}

/// Every parameter of the model with this head, with Hugging Face names, shapes and initialisation.
pub fn parameter_specs(config: &ModelConfig, head: Head) -> Vec<ParamSpec> {
    config.spec().parameters(head)
}

impl<'de> Deserialize<'de> for ModelConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        use serde::de::Error;
        let mut keys = toml::Table::deserialize(deserializer)?;
        let model_type = keys.remove("model_type");
        let family = match &model_type {
            None => "llama",
            Some(toml::Value::String(name)) => name.as_str(),
            Some(other) => return Err(D::Error::custom(format!("model_type must be a string, got {other}"))),
        };
        match family {
            "llama" => keys.try_into().map(Self::Llama).map_err(D::Error::custom),
            "gpt2" => keys.try_into().map(Self::Gpt2).map_err(D::Error::custom),
            "bert" => keys.try_into().map(Self::Bert).map_err(D::Error::custom),
            "eurobert" => keys.try_into().map(Self::EuroBert).map_err(D::Error::custom),
            "gpt2_bidirectional" => keys.try_into().map(Self::BidirectionalGpt2).map_err(D::Error::custom),
            other => {
                let families =
                    "it must be \"llama\", \"gpt2\", \"bert\", \"eurobert\" or \"gpt2_bidirectional\"";
                Err(D::Error::custom(format!("model_type is '{other}'; {families}")))
            }
        }
    }
}
