//! The transformer: configs with Hugging Face keys, seeded parameters, blocks and heads.
//!
//! Layer 2. Tensors in, tensors out: it never sees text, files or the training loop.

mod attention;
mod block;
mod config;
mod dropout;
mod flops;
mod heads;
mod layers;
mod lora;
mod mlp;
mod params;
mod transformer;

pub use attention::KvCache;
pub use config::{Gpt2Config, LlamaConfig, ModelConfig};
pub use dropout::Dropout;
pub use flops::flops_per_token;
pub use heads::{Classifier, LanguageModel, Pooling, SCORE_WEIGHT};
pub use lora::LoraConfig;
pub use params::{Head, ParamSpec, Params, Weights, parameter_specs};
pub use transformer::{TokenRows, Transformer};
