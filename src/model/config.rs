//! `[model]`: the Hugging Face `config.json` keys of its `model_type`, and the sizes both families share.
//!
//! Field names are those of transformers' `LlamaConfig` and `GPT2Config`, so the table is written out
//! without a map. Keys that would change the mathematics and are not built are not accepted.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// Which family, with its own keys.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "model_type", rename_all = "lowercase")]
pub enum ModelConfig {
    /// RMSNorm, rotary positions, SwiGLU, grouped-query attention.
    #[schemars(extend("required" = []))]
    Llama(LlamaConfig),
    /// LayerNorm with bias, learned positions, GELU (tanh form).
    Gpt2(Gpt2Config),
}

/// Keys of transformers' `LlamaConfig`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LlamaConfig {
    /// Rows of the embedding; 0 takes the tokenizer's size.
    pub vocab_size: usize,
    /// Width C of the residual stream.
    #[schemars(range(min = 1, max = 1048576))]
    pub hidden_size: usize,
    /// Width I inside the MLP.
    #[schemars(range(min = 1, max = 1048576))]
    pub intermediate_size: usize,
    /// Number of blocks L.
    #[schemars(range(min = 1, max = 1048576))]
    pub num_hidden_layers: usize,
    /// Query heads H.
    #[schemars(range(min = 1, max = 1048576))]
    pub num_attention_heads: usize,
    /// Key and value heads K; must divide H.
    #[schemars(range(min = 1, max = 1048576))]
    pub num_key_value_heads: usize,
    /// Width D of one head; 0 takes C / H.
    pub head_dim: usize,
    /// Longest sequence the model accepts, in tokens.
    #[schemars(range(min = 1, max = 1048576))]
    pub max_position_embeddings: usize,
    /// Added to the mean square in RMSNorm.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// The language-model head is the embedding transposed.
    pub tie_word_embeddings: bool,
    /// Standard deviation of the initial weights.
    pub initializer_range: f64,
}

/// Keys of transformers' `GPT2Config`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Gpt2Config {
    /// Rows of the embedding; 0 takes the tokenizer's size.
    pub vocab_size: usize,
    /// Longest sequence, in tokens.
    #[schemars(range(min = 1, max = 1048576))]
    pub n_positions: usize,
    /// Width C of the residual stream.
    #[schemars(range(min = 1, max = 1048576))]
    pub n_embd: usize,
    /// Number of blocks L.
    #[schemars(range(min = 1, max = 1048576))]
    pub n_layer: usize,
    /// Heads H.
    #[schemars(range(min = 1, max = 1048576))]
    pub n_head: usize,
    /// Width I inside the MLP; 0 takes 4 C.
    #[schemars(range(max = 1048576))]
    pub n_inner: usize,
    /// Added to the variance in LayerNorm.
    pub layer_norm_epsilon: f64,
    /// The language-model head is the embedding transposed.
    pub tie_word_embeddings: bool,
    /// Standard deviation of the initial weights.
    pub initializer_range: f64,
}

impl Default for LlamaConfig {
    fn default() -> Self {
        Self {
            vocab_size: 0,
            hidden_size: 128,
            intermediate_size: 352,
            num_hidden_layers: 4,
            num_attention_heads: 4,
            num_key_value_heads: 4,
            head_dim: 0,
            max_position_embeddings: 512,
            rms_norm_eps: 1e-6,
            rope_theta: 10_000.0,
            tie_word_embeddings: true,
            initializer_range: 0.02,
        }
    }
}

impl Default for Gpt2Config {
    fn default() -> Self {
        Self {
            vocab_size: 0,
            n_positions: 512,
            n_embd: 128,
            n_layer: 4,
            n_head: 4,
            n_inner: 0,
            layer_norm_epsilon: 1e-5,
            tie_word_embeddings: true,
            initializer_range: 0.02,
        }
    }
}

impl Default for ModelConfig {
    fn default() -> Self {
        ModelConfig::Llama(LlamaConfig::default())
    }
}

/// The sizes both families share, in the Llama words.
impl ModelConfig {
    /// V.
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Llama(c) => c.vocab_size,
            Self::Gpt2(c) => c.vocab_size,
        }
    }

    /// C.
    pub fn hidden_size(&self) -> usize {
        match self {
            Self::Llama(c) => c.hidden_size,
            Self::Gpt2(c) => c.n_embd,
        }
    }

    /// I.
    pub fn intermediate_size(&self) -> usize {
        match self {
            Self::Llama(c) => c.intermediate_size,
            Self::Gpt2(c) if c.n_inner == 0 => 4 * c.n_embd,
            Self::Gpt2(c) => c.n_inner,
        }
    }

    /// L.
    pub fn num_hidden_layers(&self) -> usize {
        match self {
            Self::Llama(c) => c.num_hidden_layers,
            Self::Gpt2(c) => c.n_layer,
        }
    }

    /// H.
    pub fn num_attention_heads(&self) -> usize {
        match self {
            Self::Llama(c) => c.num_attention_heads,
            Self::Gpt2(c) => c.n_head,
        }
    }

    /// K.
    pub fn num_key_value_heads(&self) -> usize {
        match self {
            Self::Llama(c) => c.num_key_value_heads,
            Self::Gpt2(c) => c.n_head,
        }
    }

    /// D.
    pub fn head_dim(&self) -> usize {
        match self {
            Self::Llama(c) if c.head_dim > 0 => c.head_dim,
            _ => self.hidden_size() / self.num_attention_heads().max(1),
        }
    }

    /// Longest sequence the model accepts, in tokens.
    pub fn max_position_embeddings(&self) -> usize {
        match self {
            Self::Llama(c) => c.max_position_embeddings,
            Self::Gpt2(c) => c.n_positions,
        }
    }

    /// Whether the head of the language model is the embedding transposed.
    pub fn tie_word_embeddings(&self) -> bool {
        match self {
            Self::Llama(c) => c.tie_word_embeddings,
            Self::Gpt2(c) => c.tie_word_embeddings,
        }
    }

    /// The same model with `vocab_size` rows in its embedding.
    pub fn with_vocab_size(&self, vocab_size: usize) -> Self {
        let mut config = self.clone();
        match &mut config {
            Self::Llama(c) => c.vocab_size = vocab_size,
            Self::Gpt2(c) => c.vocab_size = vocab_size,
        }
        config
    }

    /// Checks that the sizes fit each other.
    ///
    /// Errors: the key, its value and the allowed range, as one sentence.
    pub fn check(&self) -> Result<(), String> {
        let (c, h, k, d) =
            (self.hidden_size(), self.num_attention_heads(), self.num_key_value_heads(), self.head_dim());
        for (name, value) in [
            ("hidden size", c),
            ("number of layers", self.num_hidden_layers()),
            ("number of attention heads", h),
            ("number of key-value heads", k),
            ("intermediate size", self.intermediate_size()),
            ("number of positions", self.max_position_embeddings()),
        ] {
            if value == 0 || value > 1 << 20 {
                return Err(format!("model: the {name} is {value}; it must lie in 1..=1048576"));
            }
        }
        if c % h != 0 {
            return Err(format!("model: hidden size {c} is not divisible by {h} attention heads"));
        }
        if h % k != 0 {
            return Err(format!("model: {h} attention heads are not divisible by {k} key-value heads"));
        }
        if matches!(self, Self::Llama(_)) && d % 2 != 0 {
            return Err(format!("model: rotary positions need an even head_dim, got {d}"));
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for ModelConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
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
            other => {
                Err(D::Error::custom(format!("model_type is '{other}'; it must be \"llama\" or \"gpt2\"")))
            }
        }
    }
}
