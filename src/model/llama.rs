//! The Llama family: RMSNorm, rotary positions, SwiGLU, grouped-query attention. Read in both directions, the same
//! blocks are an encoder, transformers' EuroBERT.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::head::{DENSE, Pooling};
use super::spec::{
    BlockSpec, FamilyKeys, Init, LinearSpec, ModelSpec, NormSpec, ParamSpec, Place, PoolerSpec, Positions,
    Sizes,
};
use crate::ops::{self, Mask, WeightLayout};

/// Keys of transformers' `LlamaConfig` and `EuroBertConfig`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LlamaConfig {
    /// Rows of the embedding; 0 takes the tokenizer's size.
    #[schemars(range(max = 1048576))]
    pub vocab_size: usize,
    /// Width C of the residual stream.
    #[schemars(range(min = 1, max = 1048576))]
    pub hidden_size: usize,
    /// Width I inside the MLP.
    #[schemars(range(min = 1, max = 1048576))]
    pub intermediate_size: usize,
    /// Number of blocks L.
    #[schemars(range(min = 1, max = 10000))]
    pub num_hidden_layers: usize,
    /// Query heads H.
    #[schemars(range(min = 1, max = 1048576))]
    pub num_attention_heads: usize,
    /// Key and value heads K; must divide H.
    #[schemars(range(min = 1, max = 1048576))]
    pub num_key_value_heads: usize,
    /// Width D of one head; 0 takes C / H.
    #[schemars(range(max = 1048576))]
    pub head_dim: usize,
    /// Longest sequence the model accepts, in tokens.
    #[schemars(range(min = 1, max = 1048576))]
    pub max_position_embeddings: usize,
    /// Added to the mean square in RMSNorm.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1))]
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1e15))]
    pub rope_theta: f64,
    /// The language-model head is the embedding transposed.
    pub tie_word_embeddings: bool,
    /// Standard deviation of the initial weights.
    #[schemars(range(min = 0, max = 1000))]
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

impl LlamaConfig {
    /// What transformers takes for keys that a config.json leaves out; no key-value heads, since files from before
    /// grouped queries mean one for each query head.
    pub(super) fn of_transformers() -> Self {
        Self {
            vocab_size: 32_000,
            hidden_size: 4096,
            intermediate_size: 11_008,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: 0,
            max_position_embeddings: 2048,
            tie_word_embeddings: false,
            ..Self::default()
        }
    }

    /// What transformers takes for keys that the config.json of a EuroBERT leaves out.
    pub(super) fn of_transformers_eurobert() -> Self {
        Self {
            vocab_size: 128_256,
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            max_position_embeddings: 8192,
            rms_norm_eps: 1e-5,
            ..Self::of_transformers()
        }
    }

    pub(super) fn sizes(&self) -> Sizes {
        let shared = self.hidden_size / self.num_attention_heads.max(1);
        Sizes {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            num_key_value_heads: self.num_key_value_heads,
            head_dim: if self.head_dim > 0 { self.head_dim } else { shared },
            max_position_embeddings: self.max_position_embeddings,
        }
    }

    /// Source: transformers `modeling_llama.py`; initial values as its `_init_weights`.
    pub(super) fn spec(&self) -> ModelSpec {
        let normal = Init::Normal(self.initializer_range);
        let table =
            |place, name: &str| ParamSpec::new(place, name, &[self.vocab_size, self.hidden_size], normal);
        ModelSpec {
            prefix: "model.",
            embedding: table(Place::Embedding, "model.embed_tokens.weight"),
            positions: Positions::Rotary(self.rope_theta),
            token_types: None,
            embedding_norm: None,
            blocks: (0..self.num_hidden_layers).map(|layer| self.block(layer)).collect(),
            norm_first: true,
            mask: Mask::Causal,
            final_norm: Some(self.norm(Place::FinalNorm, "model.norm")),
            pooler: None,
            lm_head: (!self.tie_word_embeddings).then(|| table(Place::Head, "lm_head.weight")),
            layout: WeightLayout::OutIn,
            activation: ops::swiglu,
            head_init: normal,
            lora_targets: &["q_proj", "v_proj"],
        }
    }

    /// The same blocks as an encoder, with the head of transformers' EuroBERT: dense, GELU, classifier.
    ///
    /// Source: Boizard et al. 2025, arXiv 2503.05500; names and head as transformers' `modeling_eurobert.py`.
    pub(super) fn encoder_spec(&self) -> ModelSpec {
        let normal = Init::Normal(self.initializer_range);
        let of = |part: &str, shape: &[usize], init| {
            vec![ParamSpec::new(Place::Head, format!("{DENSE}.{part}"), shape, init)]
        };
        let hidden = self.hidden_size;
        let dense = LinearSpec {
            weights: of("weight", &[hidden, hidden], normal),
            biases: of("bias", &[hidden], Init::Zeros),
        };
        ModelSpec {
            mask: Mask::Bidirectional,
            pooler: Some(PoolerSpec {
                pooling: Pooling::Mean,
                dense,
                activation: ops::gelu_erf,
                in_body: false,
            }),
            lm_head: None,
            ..self.spec()
        }
    }

    fn block(&self, layer: usize) -> BlockSpec {
        let Sizes { hidden_size: hidden, intermediate_size: inner, head_dim, .. } = self.sizes();
        let (queries, keys) = (self.num_attention_heads * head_dim, self.num_key_value_heads * head_dim);
        let place = Place::Block(layer);
        let at = |name: &str| format!("model.layers.{layer}.{name}");
        let norm = |name: &str| self.norm(place, &at(name));
        let linear = |maps: &[(&str, usize, usize)]| {
            let weight = |(name, outputs, inputs): &(&str, usize, usize)| {
                let init = Init::Normal(self.initializer_range);
                ParamSpec::new(place, at(name) + ".weight", &[*outputs, *inputs], init)
            };
            LinearSpec { weights: maps.iter().map(weight).collect(), biases: Vec::new() }
        };
        BlockSpec {
            attention_norm: norm("input_layernorm"),
            qkv: linear(&[
                ("self_attn.q_proj", queries, hidden),
                ("self_attn.k_proj", keys, hidden),
                ("self_attn.v_proj", keys, hidden),
            ]),
            attention_output: linear(&[("self_attn.o_proj", hidden, queries)]),
            mlp_norm: norm("post_attention_layernorm"),
            mlp_input: linear(&[("mlp.gate_proj", inner, hidden), ("mlp.up_proj", inner, hidden)]),
            mlp_output: linear(&[("mlp.down_proj", hidden, inner)]),
        }
    }

    fn norm(&self, place: Place, name: &str) -> NormSpec {
        let weight = ParamSpec::new(place, format!("{name}.weight"), &[self.hidden_size], Init::Ones);
        NormSpec { weight, bias: None, eps: self.rms_norm_eps }
    }

    pub(super) fn family_keys(&self) -> FamilyKeys {
        FamilyKeys {
            architectures: Some(["LlamaForCausalLM", "LlamaForSequenceClassification"]),
            fixed: &[
                ("hidden_act", &["\"silu\"", "\"swish\""]),
                ("attention_bias", &["false"]),
                ("mlp_bias", &["false"]),
            ],
            without_effect: &[],
            written: json!({
                "head_dim": self.sizes().head_dim, "attention_dropout": 0.0,
                "rope_parameters": {"rope_type": "default", "rope_theta": self.rope_theta},
            }),
        }
    }

    /// Published checkpoints also name code of their own, which is not run, and their special tokens.
    pub(super) fn encoder_keys(&self) -> FamilyKeys {
        let mut keys = self.family_keys();
        // A classifier hides no token, and the default lies outside of small vocabularies.
        keys.written["mask_token_id"] = json!(0);
        keys.written["is_causal"] = json!(false);
        FamilyKeys {
            architectures: Some(["EuroBertModel", "EuroBertForSequenceClassification"]),
            without_effect: &[
                "auto_map",
                "bos_token",
                "clf_pooling",
                "eos_token",
                "hidden_dropout",
                "is_causal",
                "mask_token",
                "mask_token_id",
                "pad_token",
            ],
            ..keys
        }
    }
}
