//! Writing, in f32 or q8_0, through candle's writer.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use candle_core::Tensor;
use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use serde_json::Value as Json;

use super::super::folder::HfFolder;
use super::{Named, keys, named};
use crate::error::{Error, Result};
use crate::files;
use crate::model::{ModelConfig, Weights};
use crate::tokenizer::{Tokenizer, gguf};

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
    // llama.cpp's numbers: all f32, mostly q8_0.
    let file_type = if quantization == Quantization::F32 { 0 } else { 7 };
    let mut metadata = vec![
        ("general.name".to_string(), text(name)),
        ("general.file_type".to_string(), Value::U32(file_type)),
        ("general.quantization_version".to_string(), Value::U32(2)),
    ];
    metadata.extend(keys::of_config(&folder.config)?);
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

/// Keys that say how text becomes ids.
///
/// Errors: not a byte-level BPE, or cut into words in a way that llama.cpp has no name for here (65).
fn vocabulary(tokenizer: &Tokenizer, rows: usize) -> Result<Vec<(String, Value)>> {
    let described: Json = serde_json::from_slice(tokenizer.json())
        .map_err(|cause| Error::data(format!("the tokenizer is not JSON: {cause}")))?;
    let Some(words) = gguf::word_rule(&described) else {
        let why = "GGUF is written for byte-level BPE cut into words as GPT-2 or SmolLM do";
        let (cut, changed) = (&described["pre_tokenizer"], &described["normalizer"]);
        return Err(Error::data(format!("{why}, this tokenizer has {cut} after {changed}")));
    };
    let (begin, end) = (tokenizer.begin_of_text(), tokenizer.end_of_text());
    let added = tokenizer.encode("")?;
    let [adds_begin, adds_end] = match added.as_slice() {
        [] => [false, false],
        [only] if *only == end => [false, true],
        [only] if *only == begin => [true, false],
        [first, last] if *first == begin && *last == end => [true, true],
        _ => {
            let why = "GGUF cannot say which tokens this tokenizer puts around each text";
            return Err(Error::data(format!("{why}: ids {added:?}")));
        }
    };
    let mut types = vec![gguf::UNUSED; rows];
    let mut tokens: Vec<String> = (0..rows).map(|id| format!("[unused{id}]")).collect();
    for id in 0..tokenizer.vocab_size().min(rows) {
        let token = tokenizer.token(id as u32);
        if !token.is_empty() {
            (tokens[id], types[id]) = (token, gguf::NORMAL);
        }
    }
    for added in described["added_tokens"].as_array().into_iter().flatten() {
        if let Some(kind) = added["id"].as_u64().and_then(|id| types.get_mut(id as usize)) {
            *kind = if added["special"] == true { gguf::CONTROL } else { gguf::ADDED };
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
        ("bos_token_id", Value::U32(begin)),
        ("eos_token_id", Value::U32(end)),
        ("padding_token_id", Value::U32(tokenizer.pad())),
        ("add_bos_token", Value::Bool(adds_begin)),
        ("add_eos_token", Value::Bool(adds_end)),
    ];
    Ok(keys.map(|(key, value)| (format!("tokenizer.ggml.{key}"), value)).to_vec())
}

/// The tensors under llama.cpp's names, in the order of ours: matrices (out, in), rotary dimensions in pairs.
///
/// Errors: a tensor that the config does not call for (65).
fn tensors_of(config: &ModelConfig, weights: &Weights) -> Result<Vec<(String, Tensor)>> {
    let named: BTreeMap<String, Named> =
        named(config).into_iter().map(|named| (named.here.clone(), named)).collect();
    let renamed = |(name, tensor): (&String, &Tensor)| {
        let Some(Named { there, layout, .. }) = named.get(name) else {
            return Err(Error::data(format!("no GGUF name for {name}")));
        };
        Ok((there.clone(), layout.there(tensor)?))
    };
    weights.iter().map(renamed).collect()
}
