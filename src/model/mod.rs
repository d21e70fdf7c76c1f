//! The transformer: configs with Hugging Face keys, seeded parameters, blocks and heads.
//!
//! Layer 2. Tensors in, tensors out: it never sees text, files or the training loop.

mod bert;
mod config;
mod dropout;
mod flops;
mod footprint;
mod gpt2;
mod head;
mod heads;
mod kv_cache;
mod layers;
mod llama;
mod lora;
mod params;
mod rotary;
mod spec;
mod token_rows;
mod transformer;

pub use bert::BertConfig;
pub use config::{ModelConfig, parameter_specs};
pub use dropout::Dropout;
pub use flops::flops_per_token;
pub use footprint::{Footprint, footprint};
pub use gpt2::Gpt2Config;
pub use head::{Attention, Head, Pooling, gives_logits, is_classification_head, is_head};
pub use heads::{Classifier, LanguageModel};
pub use kv_cache::KvCache;
pub use llama::LlamaConfig;
pub use lora::{LoraConfig, is_update};
pub use params::{Params, Weights};
pub use spec::{FamilyKeys, Init, ModelSpec, NormSpec, ParamSpec, Place, PoolerSpec, Positions, Sizes};
pub use token_rows::TokenRows;
