//! A language model as one GGUF file, in f32 or q8_0, through candle's writer.
//!
//! Names, keys and the order of rotary dimensions are those of llama.cpp's converter; only what it can
//! compute alike is written.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::Path;

use candle_core::Tensor;
use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use serde_json::Value as Json;

use super::folder::HfFolder;
use crate::error::{Error, Result};
use crate::files;
use crate::model::{ModelConfig, ModelSpec, NormSpec, ParamSpec, Positions, Weights};
use crate::ops::WeightLayout;
use crate::tokenizer::Tokenizer;

/// How matrices are stored; norms, biases and position tables always are f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantization {
    /// As they are.
    F32,
    /// Blocks of 32 values as 8-bit integers with one scale; a matrix whose rows are no multiple of 32 stays f32.
    Q8_0,
}

/// Values of one block of q8_0.
const BLOCK: usize = 32;

/// Writes the language model in `folder` to `path`.
///
/// Errors: a classifier, or a tokenizer that llama.cpp has no name for (65); the place cannot be written (73, 74).
pub fn write_gguf(path: &Path, name: &str, folder: &HfFolder, quantization: Quantization) -> Result<()> {
    if !folder.label_names.is_empty() {
        return Err(Error::data("a classifier cannot be written as GGUF, only a language model"));
    }
    let mut metadata = architecture(name, &folder.config, quantization)?;
    metadata.extend(vocabulary(&folder.tokenizer, folder.config.vocab_size())?);
    let mut tensors = Vec::new();
    for (name, tensor) in tensors_of(&folder.config, &folder.weights)? {
        let matrix = tensor.dims().len() == 2 && name != "position_embd.weight";
        let packed = quantization == Quantization::Q8_0 && matrix && tensor.dims()[1].is_multiple_of(BLOCK);
        let dtype = if packed { GgmlDType::Q8_0 } else { GgmlDType::F32 };
        tensors.push((name, QTensor::quantize(&tensor, dtype)?));
    }
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let tensors: Vec<(&str, &QTensor)> =
        tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut bytes = Cursor::new(Vec::new());
    gguf_file::write(&mut bytes, &metadata, &tensors)?;
    files::write_atomic(path, bytes.get_ref())
}

fn text(value: &str) -> Value {
    Value::String(value.into())
}

fn number(value: usize) -> Value {
    Value::U32(value as u32)
}

/// Keys that say what the network is.
///
/// Errors: no language model (65).
fn architecture(
    name: &str,
    config: &ModelConfig,
    quantization: Quantization,
) -> Result<Vec<(String, Value)>> {
    let sizes = config.sizes();
    // llama.cpp's numbers: all f32, mostly q8_0.
    let file_type = if quantization == Quantization::F32 { 0 } else { 7 };
    let (family, more) = match config {
        ModelConfig::Llama(c) => (
            "llama",
            vec![
                ("vocab_size", number(c.vocab_size)),
                ("attention.head_count_kv", number(c.num_key_value_heads)),
                ("attention.key_length", number(sizes.head_dim)),
                ("attention.value_length", number(sizes.head_dim)),
                ("attention.layer_norm_rms_epsilon", Value::F32(c.rms_norm_eps as f32)),
                ("rope.dimension_count", number(sizes.head_dim)),
                ("rope.freq_base", Value::F32(c.rope_theta as f32)),
            ],
        ),
        ModelConfig::Bert(_) | ModelConfig::EuroBert(_) | ModelConfig::BidirectionalGpt2(_) => {
            return Err(Error::data("an encoder cannot be written as GGUF, only a language model"));
        }
        ModelConfig::Gpt2(c) => {
            ("gpt2", vec![("attention.layer_norm_epsilon", Value::F32(c.layer_norm_epsilon as f32))])
        }
    };
    let common = vec![
        ("context_length", number(sizes.max_position_embeddings)),
        ("embedding_length", number(sizes.hidden_size)),
        ("block_count", number(sizes.num_hidden_layers)),
        ("feed_forward_length", number(sizes.intermediate_size)),
        ("attention.head_count", number(sizes.num_attention_heads)),
    ];
    let mut keys = vec![
        ("general.architecture".to_string(), text(family)),
        ("general.name".to_string(), text(name)),
        ("general.file_type".to_string(), number(file_type)),
        ("general.quantization_version".to_string(), number(2)),
    ];
    keys.extend(common.into_iter().chain(more).map(|(key, value)| (format!("{family}.{key}"), value)));
    Ok(keys)
}

/// Keys that say how text becomes ids. Token types are llama.cpp's: 1 normal, 3 control, 4 added, 5 unused.
///
/// Errors: not a byte-level BPE, or cut into words in a way that llama.cpp has no name for here (65).
fn vocabulary(tokenizer: &Tokenizer, rows: usize) -> Result<Vec<(String, Value)>> {
    let described: Json = serde_json::from_slice(tokenizer.json())
        .map_err(|cause| Error::data(format!("the tokenizer is not JSON: {cause}")))?;
    let Some(words) = word_rule(&described["pre_tokenizer"]) else {
        let why = "GGUF is written for byte-level BPE cut into words as GPT-2 or SmolLM do";
        return Err(Error::data(format!("{why}, this tokenizer has {}", described["pre_tokenizer"])));
    };
    let mut types = vec![5; rows];
    let mut tokens: Vec<String> = (0..rows).map(|id| format!("[unused{id}]")).collect();
    for id in 0..tokenizer.vocab_size().min(rows) {
        (tokens[id], types[id]) = (tokenizer.token(id as u32), 1);
    }
    for added in described["added_tokens"].as_array().into_iter().flatten() {
        if let Some(kind) = added["id"].as_u64().and_then(|id| types.get_mut(id as usize)) {
            *kind = if added["special"] == true { 3 } else { 4 };
        }
    }
    let merges = described["model"]["merges"].as_array().cloned().unwrap_or_default();
    let merges = merges.iter().map(|pair| match pair.as_array() {
        Some(pair) => pair.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(" "),
        None => pair.as_str().unwrap_or_default().to_string(),
    });
    let keys = [
        ("model", text("gpt2")),
        ("pre", text(words)),
        ("tokens", Value::Array(tokens.into_iter().map(Value::String).collect())),
        ("token_type", Value::Array(types.into_iter().map(Value::I32).collect())),
        ("merges", Value::Array(merges.map(Value::String).collect())),
        ("bos_token_id", Value::U32(tokenizer.begin_of_text())),
        ("eos_token_id", Value::U32(tokenizer.end_of_text())),
        ("padding_token_id", Value::U32(tokenizer.pad())),
        ("add_bos_token", Value::Bool(false)),
    ];
    Ok(keys.map(|(key, value)| (format!("tokenizer.ggml.{key}"), value)).to_vec())
}

/// llama.cpp's name for the way a text is cut into words before merging.
fn word_rule(pre_tokenizer: &Json) -> Option<&'static str> {
    let byte_level = |rule: &Json| {
        let plain = rule["add_prefix_space"] == false && rule["use_regex"] != false;
        rule["type"] == "ByteLevel" && plain
    };
    if byte_level(pre_tokenizer) {
        return Some("gpt-2");
    }
    let rules = pre_tokenizer["pretokenizers"].as_array()?;
    match rules.as_slice() {
        [only] if byte_level(only) => Some("gpt-2"),
        [digits, last]
            if digits["type"] == "Digits" && digits["individual_digits"] == true && byte_level(last) =>
        {
            Some("smollm")
        }
        _ => None,
    }
}

/// The tensors under llama.cpp's names, in the order of ours: matrices (out, in), rotary dimensions in pairs.
///
/// Errors: a tensor that the config does not call for (65).
fn tensors_of(config: &ModelConfig, weights: &Weights) -> Result<Vec<(String, Tensor)>> {
    let (sizes, model) = (config.sizes(), config.spec());
    let names = names(&model);
    let rotary = matches!(model.positions, Positions::Rotary(_));
    let transposed: BTreeSet<&str> = match model.layout {
        WeightLayout::OutIn => BTreeSet::new(),
        WeightLayout::InOut => model.linear_maps().map(|map| map.name.as_str()).collect(),
    };
    let renamed = |(name, tensor): (&String, &Tensor)| {
        let Some(new) = names.get(name.as_str()) else {
            return Err(Error::data(format!("no GGUF name for {name}")));
        };
        let tensor = match new.rsplit('.').nth(1) {
            Some("attn_q") if rotary => rotary_pairs(tensor, sizes.num_attention_heads)?,
            Some("attn_k") if rotary => rotary_pairs(tensor, sizes.num_key_value_heads)?,
            _ if transposed.contains(name.as_str()) => tensor.t()?.contiguous()?,
            _ => tensor.clone(),
        };
        Ok((new.clone(), tensor))
    };
    weights.iter().map(renamed).collect()
}

/// llama.cpp's name of each tensor by ours.
fn names(model: &ModelSpec) -> BTreeMap<&str, String> {
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
    modules.into_iter().map(|(spec, new)| (spec.name.as_str(), new + &ending(spec))).collect()
}

/// (heads * D, C) with the halves of each head side by side: llama.cpp rotates neighbours.
fn rotary_pairs(weight: &Tensor, heads: usize) -> Result<Tensor> {
    let (rows, columns) = weight.dims2()?;
    let halves = weight.reshape((heads, 2, rows / heads / 2, columns))?; // (H, 2, D / 2, C)
    Ok(halves.transpose(1, 2)?.contiguous()?.reshape((rows, columns))?)
}
