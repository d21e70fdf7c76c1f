//! A language model as one GGUF file, llama.cpp's format: what it calls keys and tensors, and how it lays tensors out.
//!
//! Names, keys and the order of rotary dimensions are those of llama.cpp's converter; only what both compute alike is
//! written and read.

mod keys;
mod read;
mod tensors;
mod write;

use std::collections::BTreeSet;

use candle_core::Tensor;

pub(super) use self::keys::read_config;
pub(super) use self::read::load;
pub use self::write::{Quantization, write_gguf};
use crate::error::Result;
use crate::model::{ModelConfig, ModelSpec, NormSpec, ParamSpec, Positions};
use crate::ops::WeightLayout;

/// Name of the embedding there.
const EMBEDDING: &str = "token_embd.weight";
/// Name of a head of its own there.
const HEAD: &str = "output.weight";

/// How a tensor differs there.
enum Layout {
    Same,
    /// (out, in) there, (in, out) here.
    Transposed,
    /// Rows of a rotated map of so many heads: there the two halves of each head side by side, since llama.cpp rotates
    /// neighbours.
    Rotary(usize),
}

impl Layout {
    /// The tensor as it is there.
    fn there(&self, tensor: &Tensor) -> Result<Tensor> {
        match self {
            Self::Same => Ok(tensor.clone()),
            Self::Transposed => Ok(tensor.t()?.contiguous()?),
            Self::Rotary(heads) => rows_swapped(tensor, |rows| [*heads, 2, rows / heads / 2]),
        }
    }

    /// The tensor as it is here.
    fn here(&self, tensor: &Tensor) -> Result<Tensor> {
        match self {
            Self::Same | Self::Transposed => self.there(tensor),
            Self::Rotary(heads) => rows_swapped(tensor, |rows| [*heads, rows / heads / 2, 2]),
        }
    }
}

/// (rows, C) as (H, A, B, C) with A and B swapped.
fn rows_swapped(weight: &Tensor, parts: impl Fn(usize) -> [usize; 3]) -> Result<Tensor> {
    let (rows, columns) = weight.dims2()?;
    let [heads, a, b] = parts(rows);
    Ok(weight.reshape((heads, a, b, columns))?.transpose(1, 2)?.contiguous()?.reshape((rows, columns))?)
}

/// A tensor here and there.
struct Named {
    here: String,
    there: String,
    layout: Layout,
}

/// All tensors of a language model.
fn named(config: &ModelConfig) -> Vec<Named> {
    let (sizes, model) = (config.sizes(), config.spec());
    let rotary = matches!(model.positions, Positions::Rotary(_));
    let transposed: BTreeSet<&str> = match model.layout {
        WeightLayout::OutIn => BTreeSet::new(),
        WeightLayout::InOut => model.linear_maps().map(|map| map.name.as_str()).collect(),
    };
    let names = names(&model).into_iter().map(|(spec, there)| {
        let layout = match there.rsplit('.').nth(1) {
            Some("attn_q") if rotary => Layout::Rotary(sizes.num_attention_heads),
            Some("attn_k") if rotary => Layout::Rotary(sizes.num_key_value_heads),
            _ if transposed.contains(spec.name.as_str()) => Layout::Transposed,
            _ => Layout::Same,
        };
        Named { here: spec.name.clone(), there, layout }
    });
    names.collect()
}

/// llama.cpp's name of each tensor.
fn names(model: &ModelSpec) -> Vec<(&ParamSpec, String)> {
    let mut modules = vec![(&model.embedding, "token_embd".to_string())];
    if let Positions::Learned(table) = &model.positions {
        modules.push((table, "position_embd".into()));
    }
    modules.extend(model.lm_head.iter().map(|head| (head, "output".into())));
    let final_norm = model.final_norm.iter().flat_map(NormSpec::parameters);
    modules.extend(final_norm.map(|spec| (spec, "output_norm".into())));
    for (layer, block) in model.blocks.iter().enumerate() {
        for (norm, name) in [(&block.attention_norm, "attn_norm"), (&block.mlp_norm, "ffn_norm")] {
            modules.extend(norm.parameters().map(|spec| (spec, format!("blk.{layer}.{name}"))));
        }
        let qkv: &[&str] = if block.qkv.weights.len() == 1 { &["qkv"] } else { &["q", "k", "v"] };
        let inner: &[&str] = if block.mlp_input.weights.len() == 1 { &["up"] } else { &["gate", "up"] };
        for (linear, start, ends) in [
            (&block.qkv, "attn", qkv),
            (&block.attention_output, "attn", &["output"]),
            (&block.mlp_input, "ffn", inner),
            (&block.mlp_output, "ffn", &["down"]),
        ] {
            let named = |(spec, end)| (spec, format!("blk.{layer}.{start}_{end}"));
            modules.extend(linear.weights.iter().zip(ends).map(named));
            modules.extend(linear.biases.iter().zip(ends).map(named));
        }
    }
    let ending = |spec: &ParamSpec| spec.name[spec.module().len()..].to_string(); // .weight or .bias
    modules.into_iter().map(|(spec, new)| (spec, new + &ending(spec))).collect()
}
