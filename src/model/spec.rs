//! What a model is made of, in the words of no family: its sizes, and every tensor by place, name, shape and start.
//!
//! Each family describes itself so, once; the network, its parameters, low-rank updates and files are made from that.

use serde_json::Value;

use super::head::{CLASSIFIER, Head, Pooling, SCORE};
use crate::ops::{Mask, Traced, WeightLayout};

/// Sizes in the words of Llama's config.json.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// V.
    pub vocab_size: usize,
    /// C.
    pub hidden_size: usize,
    /// I.
    pub intermediate_size: usize,
    /// L.
    pub num_hidden_layers: usize,
    /// H.
    pub num_attention_heads: usize,
    /// K.
    pub num_key_value_heads: usize,
    /// D.
    pub head_dim: usize,
    /// Longest sequence the model accepts, in tokens.
    pub max_position_embeddings: usize,
}

impl Sizes {
    /// Weights of the matrices, about; a count that does not overflow.
    pub(super) fn about_parameters(&self) -> f64 {
        let [v, c, i, l] =
            [self.vocab_size, self.hidden_size, self.intermediate_size, self.num_hidden_layers]
                .map(|size| size as f64);
        let heads = 2.0 * (self.num_attention_heads + self.num_key_value_heads) as f64 * self.head_dim as f64;
        (v + self.max_position_embeddings as f64) * c + l * c * (heads + 2.0 * i)
    }
}

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// Uniform between minus this and this.
    Uniform(f64),
    /// The scale of a norm.
    Ones,
    /// A bias.
    Zeros,
}

/// Where in a model a parameter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Embedding of tokens or positions.
    Embedding,
    /// The block of this number, from 0; low-rank updates belong to the block of their map.
    Block(usize),
    /// The norm after the last block.
    FinalNorm,
    /// Of either kind.
    Head,
}

/// Place, name, shape and start of one parameter.
#[derive(Clone, Debug)]
pub struct ParamSpec {
    /// Where it is.
    pub place: Place,
    /// Hugging Face tensor name.
    pub name: String,
    /// Shape as in the safetensors file.
    pub shape: Vec<usize>,
    /// Initial values.
    pub init: Init,
}

impl ParamSpec {
    /// A parameter called `name`.
    pub fn new(place: Place, name: impl Into<String>, shape: &[usize], init: Init) -> Self {
        Self { place, name: name.into(), shape: shape.to_vec(), init }
    }

    /// The name without its last part, `weight` or `bias`.
    pub fn module(&self) -> &str {
        self.name.rsplit_once('.').map_or(&self.name, |(module, _)| module)
    }
}

/// One or several linear maps of the same input, whose outputs stand side by side.
#[derive(Clone, Debug)]
pub struct LinearSpec {
    /// Each stored as [`ModelSpec::layout`] says.
    pub weights: Vec<ParamSpec>,
    /// None, or one for each weight.
    pub biases: Vec<ParamSpec>,
}

impl LinearSpec {
    /// Weights and biases.
    pub fn parameters(&self) -> impl Iterator<Item = &ParamSpec> {
        self.weights.iter().chain(&self.biases)
    }
}

/// RMSNorm without, LayerNorm with bias.
#[derive(Clone, Debug)]
pub struct NormSpec {
    /// (C).
    pub weight: ParamSpec,
    /// (C).
    pub bias: Option<ParamSpec>,
    /// Added to the mean square or variance.
    pub eps: f64,
}

impl NormSpec {
    /// Weight and bias.
    pub fn parameters(&self) -> impl Iterator<Item = &ParamSpec> {
        [Some(&self.weight), self.bias.as_ref()].into_iter().flatten()
    }
}

/// A map of the pooled state, C to C, and a non-linearity, before the classifier that a family has of its own.
#[derive(Clone, Debug)]
pub struct PoolerSpec {
    /// What is pooled so; a classifier that pools otherwise has neither this nor the family's own map to logits.
    pub pooling: Pooling,
    /// The map.
    pub dense: LinearSpec,
    /// The non-linearity.
    pub activation: fn(&Traced) -> candle_core::Result<Traced>,
    /// Whether a model without a classifier has it too.
    pub in_body: bool,
}

/// A block: attention, then MLP, each added to what it reads, with a norm before it or after the sum.
#[derive(Clone, Debug)]
pub struct BlockSpec {
    /// Norm of the attention.
    pub attention_norm: NormSpec,
    /// Queries, keys and values: one map, or one of each.
    pub qkv: LinearSpec,
    /// The attention's output.
    pub attention_output: LinearSpec,
    /// Norm of the MLP.
    pub mlp_norm: NormSpec,
    /// What the activation reads; of a gated one the gate, then the rest.
    pub mlp_input: LinearSpec,
    /// The MLP's output.
    pub mlp_output: LinearSpec,
}

impl BlockSpec {
    fn linears(&self) -> [&LinearSpec; 4] {
        [&self.qkv, &self.attention_output, &self.mlp_input, &self.mlp_output]
    }

    fn norms(&self) -> [&NormSpec; 2] {
        [&self.attention_norm, &self.mlp_norm]
    }

    /// Every parameter of the block: linear maps, then norms.
    pub fn parameters(&self) -> impl Iterator<Item = &ParamSpec> {
        let linears = self.linears().into_iter().flat_map(LinearSpec::parameters);
        linears.chain(self.norms().into_iter().flat_map(NormSpec::parameters))
    }
}

/// How a model knows the order of tokens.
#[derive(Clone, Debug)]
pub enum Positions {
    /// Rotations inside each attention, with this base of the frequencies.
    Rotary(f64),
    /// A table (P, C) added to the embeddings.
    Learned(ParamSpec),
}

/// All of a model but the classification head.
#[derive(Clone, Debug)]
pub struct ModelSpec {
    /// Beginning of all names but the heads'; a model saved without a head leaves it out.
    pub prefix: &'static str,
    /// (V, C).
    pub embedding: ParamSpec,
    /// How the order of tokens is known.
    pub positions: Positions,
    /// A table (types, C) whose first row is added to every embedding: a text alone is of the first type.
    pub token_types: Option<ParamSpec>,
    /// Of the sum of all embeddings.
    pub embedding_norm: Option<NormSpec>,
    /// In order.
    pub blocks: Vec<BlockSpec>,
    /// Whether norms stand before attention and MLP, or after what these are added to.
    pub norm_first: bool,
    /// Which tokens a token sees.
    pub mask: Mask,
    /// After the last block.
    pub final_norm: Option<NormSpec>,
    /// What the family's own classifier reads the text through.
    pub pooler: Option<PoolerSpec>,
    /// (V, C); none where the embedding is the head.
    pub lm_head: Option<ParamSpec>,
    /// How linear maps are stored.
    pub layout: WeightLayout,
    /// The non-linearity of the MLP.
    pub activation: fn(&Traced) -> candle_core::Result<Traced>,
    /// How a head starts.
    pub head_init: Init,
    /// The maps that PEFT gives low-rank updates where none are named.
    pub lora_targets: &'static [&'static str],
}

impl ModelSpec {
    /// The linear maps inside the blocks.
    pub fn linear_maps(&self) -> impl Iterator<Item = &ParamSpec> {
        self.blocks.iter().flat_map(BlockSpec::linears).flat_map(|linear| &linear.weights)
    }

    /// Outputs and inputs of a linear map.
    pub fn outputs_and_inputs(&self, map: &ParamSpec) -> (usize, usize) {
        match self.layout {
            WeightLayout::OutIn => (map.shape[0], map.shape[1]),
            WeightLayout::InOut => (map.shape[1], map.shape[0]),
        }
    }

    /// Every parameter of the model with this head.
    pub fn parameters(&self, head: Head) -> Vec<ParamSpec> {
        let mut all = vec![self.embedding.clone()];
        if let Positions::Learned(table) = &self.positions {
            all.push(table.clone());
        }
        all.extend(self.token_types.clone());
        let linears = self.blocks.iter().flat_map(BlockSpec::linears);
        all.extend(linears.flat_map(LinearSpec::parameters).cloned());
        let norms = self.embedding_norm.iter().chain(self.blocks.iter().flat_map(BlockSpec::norms));
        all.extend(norms.chain(&self.final_norm).flat_map(NormSpec::parameters).cloned());
        match head {
            Head::LanguageModel => {
                let pooler = self.pooler.iter().filter(|pooler| pooler.in_body);
                all.extend(pooler.flat_map(|pooler| pooler.dense.parameters()).cloned());
                all.extend(self.lm_head.clone());
            }
            Head::Classifier { num_labels, pooling } => {
                let pooler = self.pooler_of(pooling).into_iter();
                all.extend(pooler.flat_map(|pooler| pooler.dense.parameters()).cloned());
                all.extend(self.classifier(num_labels, pooling).parameters().cloned());
            }
        }
        all
    }

    /// What a classifier that pools so reads the text through.
    pub fn pooler_of(&self, pooling: Pooling) -> Option<&PoolerSpec> {
        self.pooler.as_ref().filter(|pooler| pooler.pooling == pooling)
    }

    /// The map from what `pooling` gives to class logits.
    pub fn classifier(&self, num_labels: usize, pooling: Pooling) -> LinearSpec {
        let shape = [num_labels, pooling.width() * self.embedding.shape[1]];
        let of = |part: String, shape: &[usize], init| ParamSpec::new(Place::Head, part, shape, init);
        match self.pooler_of(pooling) {
            Some(_) => LinearSpec {
                weights: vec![of(format!("{CLASSIFIER}.weight"), &shape, self.head_init)],
                biases: vec![of(format!("{CLASSIFIER}.bias"), &shape[..1], Init::Zeros)],
            },
            None => LinearSpec {
                weights: vec![of(format!("{SCORE}.weight"), &shape, self.head_init)],
                biases: Vec::new(),
            },
        }
    }
}

/// What transformers says of a family beside the keys of its config.
pub struct FamilyKeys {
    /// Classes of the language model or bare encoder and of the classifier; none where transformers has no such model.
    pub architectures: Option<[&'static str; 2]>,
    /// Keys of config.json with the JSON values that mean what is built here; the first is written.
    pub fixed: &'static [(&'static str, &'static [&'static str])],
    /// More keys of config.json without an effect on what is computed here.
    pub without_effect: &'static [&'static str],
    /// More keys that are written.
    pub written: Value,
}

#[cfg(test)]
mod tests {
    use crate::model::{
        BertConfig, Gpt2Config, Head, LlamaConfig, LoraConfig, ModelConfig, Place, Pooling, parameter_specs,
    };

    #[test]
    fn every_parameter_has_its_part() {
        let llama = ModelConfig::Llama(LlamaConfig { num_hidden_layers: 12, ..LlamaConfig::default() });
        let gpt2 = ModelConfig::Gpt2(Gpt2Config { n_layer: 12, ..Gpt2Config::default() });
        let bert = ModelConfig::Bert(BertConfig { num_hidden_layers: 12, ..BertConfig::default() });
        let head = Head::Classifier { num_labels: 2, pooling: Pooling::Last };
        // Tensors of the embedding, of the final norm, of a block, and low-rank updates of a block.
        for (config, expected) in [(llama, [1, 1, 9, 4]), (gpt2, [2, 2, 12, 2]), (bert, [5, 0, 16, 4])] {
            let all = parameter_specs(&config, head);
            let updates = LoraConfig::default().specs(&config).unwrap();
            let [embedding, norm, block, update] = expected;
            let count = |place| all.iter().filter(|spec| spec.place == place).count();
            assert_eq!(
                (count(Place::Embedding), count(Place::FinalNorm), count(Place::Head)),
                (embedding, norm, 1)
            );
            for layer in 0..12 {
                let of_block = |name: &str| name.split('.').any(|word| word == layer.to_string());
                let here = all.iter().filter(|spec| spec.place == Place::Block(layer));
                assert_eq!(here.filter(|spec| of_block(&spec.name)).count(), block);
                let here = updates.iter().filter(|spec| spec.place == Place::Block(layer));
                assert_eq!(here.filter(|spec| of_block(&spec.name)).count(), update);
            }
        }
    }
}
