//! The BERT family: encoders. LayerNorm after each sum, learned positions, token types, GELU by the error function.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::head::Pooling;
use super::spec::{
    BlockSpec, FamilyKeys, Init, LinearSpec, ModelSpec, NormSpec, ParamSpec, Place, PoolerSpec, Positions,
    Sizes,
};
use crate::ops::{self, Mask, WeightLayout};

/// Keys of transformers' `BertConfig`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BertConfig {
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
    /// Heads H.
    #[schemars(range(min = 1, max = 1048576))]
    pub num_attention_heads: usize,
    /// Longest sequence, in tokens.
    #[schemars(range(min = 1, max = 1048576))]
    pub max_position_embeddings: usize,
    /// Kinds of text that a token may belong to; a text alone is of the first.
    #[schemars(range(min = 1, max = 1048576))]
    pub type_vocab_size: usize,
    /// Added to the variance in LayerNorm.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1))]
    pub layer_norm_eps: f64,
    /// Standard deviation of the initial weights.
    #[schemars(range(min = 0, max = 1000))]
    pub initializer_range: f64,
}

impl Default for BertConfig {
    fn default() -> Self {
        Self {
            vocab_size: 0,
            hidden_size: 128,
            intermediate_size: 512,
            num_hidden_layers: 4,
            num_attention_heads: 4,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            initializer_range: 0.02,
        }
    }
}

impl BertConfig {
    /// What transformers takes for keys that a config.json leaves out.
    pub(super) fn of_transformers() -> Self {
        Self {
            vocab_size: 30_522,
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            ..Self::default()
        }
    }

    pub(super) fn sizes(&self) -> Sizes {
        Sizes {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            num_key_value_heads: self.num_attention_heads,
            head_dim: self.hidden_size / self.num_attention_heads.max(1),
            max_position_embeddings: self.max_position_embeddings,
        }
    }

    /// Source: Devlin et al. 2018, arXiv 1810.04805; names and initial values as transformers' `modeling_bert.py`.
    pub(super) fn spec(&self) -> ModelSpec {
        let normal = Init::Normal(self.initializer_range);
        let table = |name: &str, rows| {
            let name = format!("bert.embeddings.{name}.weight");
            ParamSpec::new(Place::Embedding, name, &[rows, self.hidden_size], normal)
        };
        let hidden = self.hidden_size;
        ModelSpec {
            prefix: "bert.",
            embedding: table("word_embeddings", self.vocab_size),
            positions: Positions::Learned(table("position_embeddings", self.max_position_embeddings)),
            token_types: Some(table("token_type_embeddings", self.type_vocab_size)),
            embedding_norm: Some(self.norm(Place::Embedding, "bert.embeddings.LayerNorm")),
            blocks: (0..self.num_hidden_layers).map(|layer| self.block(layer)).collect(),
            norm_first: false,
            mask: Mask::Bidirectional,
            final_norm: None,
            pooler: Some(PoolerSpec {
                pooling: Pooling::First,
                dense: self.linear(Place::Head, &["bert.pooler.dense"], hidden, hidden),
                activation: ops::tanh,
                in_body: true,
            }),
            lm_head: None,
            layout: WeightLayout::OutIn,
            activation: ops::gelu_erf,
            head_init: normal,
            lora_targets: &["query", "value"],
        }
    }

    fn block(&self, layer: usize) -> BlockSpec {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let place = Place::Block(layer);
        let at = |name: &str| format!("bert.encoder.layer.{layer}.{name}");
        let [query, key, value] = ["query", "key", "value"].map(|name| at(&format!("attention.self.{name}")));
        BlockSpec {
            attention_norm: self.norm(place, &at("attention.output.LayerNorm")),
            qkv: self.linear(place, &[&query, &key, &value], hidden, hidden),
            attention_output: self.linear(place, &[&at("attention.output.dense")], hidden, hidden),
            mlp_norm: self.norm(place, &at("output.LayerNorm")),
            mlp_input: self.linear(place, &[&at("intermediate.dense")], inner, hidden),
            mlp_output: self.linear(place, &[&at("output.dense")], hidden, inner),
        }
    }

    fn linear(&self, place: Place, modules: &[&str], outputs: usize, inputs: usize) -> LinearSpec {
        let normal = Init::Normal(self.initializer_range);
        let of = |part: &str, shape: &[usize], init| {
            modules
                .iter()
                .map(|module| ParamSpec::new(place, format!("{module}.{part}"), shape, init))
                .collect()
        };
        LinearSpec {
            weights: of("weight", &[outputs, inputs], normal),
            biases: of("bias", &[outputs], Init::Zeros),
        }
    }

    fn norm(&self, place: Place, name: &str) -> NormSpec {
        NormSpec {
            weight: ParamSpec::new(place, format!("{name}.weight"), &[self.hidden_size], Init::Ones),
            bias: Some(ParamSpec::new(place, format!("{name}.bias"), &[self.hidden_size], Init::Zeros)),
            eps: self.layer_norm_eps,
        }
    }

    pub(super) fn family_keys(&self) -> FamilyKeys {
        FamilyKeys {
            architectures: Some(["BertModel", "BertForSequenceClassification"]),
            fixed: &[
                ("hidden_act", &["\"gelu\""]),
                ("position_embedding_type", &["\"absolute\""]),
                ("is_decoder", &["false"]),
            ],
            without_effect: &["is_causal"],
            written: json!({
                "attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.0, "classifier_dropout": 0.0,
            }),
        }
    }
}
