//! The GPT-2 family: LayerNorm with bias, learned positions, GELU (tanh form). Read in both directions, the same blocks
//! are an encoder, which transformers does not have.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::spec::{
    BlockSpec, FamilyKeys, Init, LinearSpec, ModelSpec, NormSpec, ParamSpec, Place, Positions, Sizes,
};
use crate::ops::{self, Mask, WeightLayout};

/// Keys of transformers' `GPT2Config`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Gpt2Config {
    /// Rows of the embedding; 0 takes the tokenizer's size.
    #[schemars(range(max = 1048576))]
    pub vocab_size: usize,
    /// Longest sequence, in tokens.
    #[schemars(range(min = 1, max = 1048576))]
    pub n_positions: usize,
    /// Width C of the residual stream.
    #[schemars(range(min = 1, max = 1048576))]
    pub n_embd: usize,
    /// Number of blocks L.
    #[schemars(range(min = 1, max = 10000))]
    pub n_layer: usize,
    /// Heads H.
    #[schemars(range(min = 1, max = 1048576))]
    pub n_head: usize,
    /// Width I inside the MLP; 0 takes 4 C.
    #[schemars(range(max = 1048576))]
    pub n_inner: usize,
    /// Added to the variance in LayerNorm.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1))]
    pub layer_norm_epsilon: f64,
    /// The language-model head is the embedding transposed.
    pub tie_word_embeddings: bool,
    /// Standard deviation of the initial weights.
    #[schemars(range(min = 0, max = 1000))]
    pub initializer_range: f64,
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

impl Gpt2Config {
    /// What transformers takes for keys that a config.json leaves out.
    pub(super) fn of_transformers() -> Self {
        Self {
            vocab_size: 50_257,
            n_positions: 1024,
            n_embd: 768,
            n_layer: 12,
            n_head: 12,
            ..Self::default()
        }
    }

    pub(super) fn sizes(&self) -> Sizes {
        Sizes {
            vocab_size: self.vocab_size,
            hidden_size: self.n_embd,
            intermediate_size: if self.n_inner > 0 { self.n_inner } else { 4 * self.n_embd },
            num_hidden_layers: self.n_layer,
            num_attention_heads: self.n_head,
            num_key_value_heads: self.n_head,
            head_dim: self.n_embd / self.n_head.max(1),
            max_position_embeddings: self.n_positions,
        }
    }

    /// Source: transformers `modeling_gpt2.py`; initial values as its `_init_weights`.
    pub(super) fn spec(&self) -> ModelSpec {
        let normal = Init::Normal(self.initializer_range);
        let table = |place, name: &str, rows| ParamSpec::new(place, name, &[rows, self.n_embd], normal);
        ModelSpec {
            prefix: "transformer.",
            embedding: table(Place::Embedding, "transformer.wte.weight", self.vocab_size),
            positions: Positions::Learned(table(
                Place::Embedding,
                "transformer.wpe.weight",
                self.n_positions,
            )),
            token_types: None,
            embedding_norm: None,
            blocks: (0..self.n_layer).map(|layer| self.block(layer)).collect(),
            norm_first: true,
            mask: Mask::Causal,
            final_norm: Some(self.norm(Place::FinalNorm, "transformer.ln_f")),
            pooler: None,
            lm_head: (!self.tie_word_embeddings)
                .then(|| table(Place::Head, "lm_head.weight", self.vocab_size)),
            layout: WeightLayout::InOut,
            activation: ops::gelu,
            head_init: normal,
            lora_targets: &["c_attn"],
        }
    }

    /// The same blocks as an encoder.
    pub(super) fn encoder_spec(&self) -> ModelSpec {
        ModelSpec { mask: Mask::Bidirectional, lm_head: None, ..self.spec() }
    }

    /// Weights of what joins the residual stream start smaller by sqrt(2 L): Radford et al. 2019, section 2.3.
    fn block(&self, layer: usize) -> BlockSpec {
        let (hidden, inner) = (self.n_embd, self.sizes().intermediate_size);
        let normal = Init::Normal(self.initializer_range);
        let residual = Init::Normal(self.initializer_range / (2.0 * self.n_layer as f64).sqrt());
        let place = Place::Block(layer);
        let at = |name: &str| format!("transformer.h.{layer}.{name}");
        let norm = |name: &str| self.norm(place, &at(name));
        let linear = |name: &str, inputs: usize, outputs: usize, init: Init| LinearSpec {
            weights: vec![ParamSpec::new(place, at(name) + ".weight", &[inputs, outputs], init)],
            biases: vec![ParamSpec::new(place, at(name) + ".bias", &[outputs], Init::Zeros)],
        };
        BlockSpec {
            attention_norm: norm("ln_1"),
            qkv: linear("attn.c_attn", hidden, 3 * hidden, normal),
            attention_output: linear("attn.c_proj", hidden, hidden, residual),
            mlp_norm: norm("ln_2"),
            mlp_input: linear("mlp.c_fc", hidden, inner, normal),
            mlp_output: linear("mlp.c_proj", inner, hidden, residual),
        }
    }

    fn norm(&self, place: Place, name: &str) -> NormSpec {
        NormSpec {
            weight: ParamSpec::new(place, format!("{name}.weight"), &[self.n_embd], Init::Ones),
            bias: Some(ParamSpec::new(place, format!("{name}.bias"), &[self.n_embd], Init::Zeros)),
            eps: self.layer_norm_epsilon,
        }
    }

    pub(super) fn family_keys(&self) -> FamilyKeys {
        FamilyKeys {
            architectures: Some(["GPT2LMHeadModel", "GPT2ForSequenceClassification"]),
            fixed: &[
                ("activation_function", &["\"gelu_new\"", "\"gelu_pytorch_tanh\""]),
                ("scale_attn_weights", &["true"]),
                ("scale_attn_by_inverse_layer_idx", &["false"]),
                ("reorder_and_upcast_attn", &["false"]),
            ],
            without_effect: &[],
            written: json!({
                "n_inner": self.sizes().intermediate_size, "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0,
            }),
        }
    }

    pub(super) fn encoder_keys(&self) -> FamilyKeys {
        let mut keys = self.family_keys();
        keys.written["is_causal"] = json!(false);
        FamilyKeys { architectures: None, without_effect: &["is_causal"], ..keys }
    }
}
