//! Sizes of a model as GGUF keys, in both directions.

use candle_core::quantized::gguf_file::Value;
use serde_json::{Map, Value as Json, json};

use super::super::config::object;
use super::{EMBEDDING, HEAD, tensors};
use crate::error::{Error, Result};
use crate::files::gguf::{self, Gguf, shown};
use crate::model::ModelConfig;

/// A key there, after the architecture, and in config.json.
type Pair = (&'static str, &'static str);

const LLAMA: [Pair; 9] = [
    ("context_length", "max_position_embeddings"),
    ("embedding_length", "hidden_size"),
    ("block_count", "num_hidden_layers"),
    ("feed_forward_length", "intermediate_size"),
    ("attention.head_count", "num_attention_heads"),
    ("attention.head_count_kv", "num_key_value_heads"),
    ("attention.key_length", "head_dim"),
    ("attention.layer_norm_rms_epsilon", "rms_norm_eps"),
    ("rope.freq_base", "rope_theta"),
];

const GPT2: [Pair; 6] = [
    ("context_length", "n_positions"),
    ("embedding_length", "n_embd"),
    ("block_count", "n_layer"),
    ("feed_forward_length", "n_inner"),
    ("attention.head_count", "n_head"),
    ("attention.layer_norm_epsilon", "layer_norm_epsilon"),
];

/// Keys that repeat what others say or change nothing.
const WITHOUT_EFFECT: [&str; 2] = ["tensor_data_layout", "vocab_size"];

/// Name of the architecture, and its keys.
///
/// Errors: no language model (65).
fn family(config: &ModelConfig) -> Result<(&'static str, &'static [Pair])> {
    match config {
        ModelConfig::Llama(_) => Ok(("llama", &LLAMA)),
        ModelConfig::Gpt2(_) => Ok(("gpt2", &GPT2)),
        ModelConfig::Bert(_) | ModelConfig::EuroBert(_) | ModelConfig::BidirectionalGpt2(_) => {
            Err(Error::data("an encoder cannot be written as GGUF, only a language model"))
        }
    }
}

/// Keys that say what the network is.
///
/// Errors: no language model (65).
pub(super) fn of_config(config: &ModelConfig) -> Result<Vec<(String, Value)>> {
    let (family, pairs) = family(config)?;
    let number = |size: usize| Value::U32(size as u32);
    // Sizes that are 0 where they follow from others are written out.
    let mut ours = object(config);
    ours.extend(config.family_keys().written.as_object().cloned().unwrap_or_default());
    let value = |key: &str| match &ours[key] {
        size if size.is_u64() => number(size.as_u64().unwrap_or_default() as usize),
        real => Value::F32(real.as_f64().unwrap_or_default() as f32),
    };
    let mut keys: Vec<(&str, Value)> = pairs.iter().map(|(there, here)| (*there, value(here))).collect();
    let sizes = config.sizes();
    keys.push(("vocab_size", number(sizes.vocab_size)));
    if let ModelConfig::Llama(_) = config {
        let head = ["attention.value_length", "rope.dimension_count"];
        keys.extend(head.map(|key| (key, number(sizes.head_dim))));
    }
    let keys = keys.into_iter().map(|(key, value)| (format!("{family}.{key}"), value));
    Ok([("general.architecture".to_string(), Value::String(family.into()))].into_iter().chain(keys).collect())
}

/// The model that the keys and the embedding of a file describe.
///
/// Errors: another architecture, a key that is missing, or that asks for something that is not built (65).
pub fn read_config(file: &Gguf) -> Result<ModelConfig> {
    let architecture = file.text("general.architecture")?;
    let known = if matches!(architecture, "llama" | "gpt2") { architecture } else { "" };
    let Some(start) = ModelConfig::of_transformers(known) else {
        let why = format!("general.architecture is '{}', only llama and gpt2 are read", shown(architecture));
        return Err(file.wrong(why));
    };
    let (_, pairs) = family(&start)?;
    let mut ours = object(&start);
    for (there, here) in pairs {
        let key = format!("{architecture}.{there}");
        let value = match &ours[*here] {
            value if value.is_f64() => file.real(&key).map(|number| json!(number)),
            _ => file.whole(&key).map(|size| json!(size)),
        };
        let otherwise = match *there {
            "attention.head_count_kv" => Some(ours["num_attention_heads"].clone()),
            "attention.key_length" => Some(shared(&ours)),
            "rope.freq_base" => Some(json!(10_000.0)),
            _ => None,
        };
        ours.insert((*here).into(), otherwise.filter(|_| !file.has(&key)).map_or(value, Ok)?);
    }
    check_others(file, architecture, pairs, ours.get("head_dim").and_then(Json::as_u64))?;
    let shapes = tensors::Tensors::of(file)?;
    ours.insert("vocab_size".into(), json!(shapes.rows(EMBEDDING)?));
    ours.insert("tie_word_embeddings".into(), json!(!shapes.has(HEAD) || shapes.same(EMBEDDING, HEAD)?));
    let config: ModelConfig = serde_json::from_value(Json::Object(ours))
        .map_err(|cause| file.wrong(format!("its keys: {cause}")))?;
    config.check().map_err(|cause| file.wrong(cause))?;
    Ok(config)
}

/// Width of one head where the heads share that of the model.
fn shared(ours: &Map<String, Json>) -> Json {
    let size = |key: &str| ours[key].as_u64().unwrap_or_default();
    json!(size("hidden_size") / size("num_attention_heads").max(1))
}

/// Errors: a key of the architecture that asks for something that is not built, or that is not known here and not off.
fn check_others(file: &Gguf, architecture: &str, pairs: &[Pair], head_dim: Option<u64>) -> Result<()> {
    for (key, value) in file.keys() {
        let Some(name) = key.strip_prefix(architecture).and_then(|rest| rest.strip_prefix('.')) else {
            continue;
        };
        if WITHOUT_EFFECT.contains(&name) || pairs.iter().any(|(there, _)| *there == name) {
            continue;
        }
        let fits = match (name, value) {
            ("attention.value_length" | "rope.dimension_count", gguf::Value::Whole(size)) => {
                head_dim.is_some_and(|width| *size == i128::from(width))
            }
            ("rope.scaling.type", gguf::Value::Text(text)) => text == "none",
            ("rope.scaling.factor" | "rope.scale_linear", gguf::Value::Real(factor)) => *factor == 1.0,
            ("attention.causal", gguf::Value::Flag(causal)) => *causal,
            (_, gguf::Value::Whole(0) | gguf::Value::Flag(false)) => true,
            (_, gguf::Value::Real(number)) => *number == 0.0,
            _ => false,
        };
        if !fits {
            let why = format!("{} is {value}, which is not built", shown(key));
            let hint = "take a Llama or GPT-2 without rope scaling, sliding windows or experts";
            return Err(file.wrong(format!("{why}; {hint}")));
        }
    }
    Ok(())
}
