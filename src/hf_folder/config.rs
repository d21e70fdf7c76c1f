//! config.json and its small neighbours: what transformers is told, and what is taken from it.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::folder::{Decision, ModelFiles};
use crate::error::{Error, Result};
use crate::files;
use crate::metrics::Threshold;
use crate::model::{FamilyKeys, ModelConfig, Pooling};
use crate::tokenizer::Tokenizer;

/// Where config.json says how the classifier pools and answers; transformers knows the first of EuroBERT alone.
const POOLING: &str = "classifier_pooling";
/// What EuroBERT's first files call it.
const FORMER_POOLING: &str = "clf_pooling";
const POSITIVE: &str = "classifier_positive_id";
const THRESHOLD: &str = "classifier_threshold";
const TEMPERATURE: &str = "classifier_temperature";
const WINDOWS: &str = "classifier_windows";

/// More windows than anybody trains with; a text of as many tokens would fill the memory.
const MOST_WINDOWS: f64 = 65536.0;

/// Sizes and classes of a folder.
pub struct FolderConfig {
    /// Sizes.
    pub config: ModelConfig,
    /// Class names in label order; empty where none are named.
    pub label_names: Vec<String>,
    /// How a classifier pools, or why one could not be built.
    pub pooling: std::result::Result<Pooling, String>,
    /// How it answers.
    pub decision: Decision,
}

/// The content of config.json.
pub(super) fn config_json(model: &ModelFiles) -> Value {
    let ModelFiles { config, label_names, tokenizer, .. } = model;
    let mut keys = object(config);
    let classifier = !label_names.is_empty();
    let family = config.family_keys();
    keys.extend(family.written.as_object().cloned().unwrap_or_default());
    for (key, values) in family.fixed {
        keys.insert((*key).into(), serde_json::from_str(values[0]).unwrap_or_default());
    }
    let own_head = classifier && config.is_encoder() && !config.is_of_transformers(model.pooling);
    if let Some(classes) = family.architectures {
        keys.insert("architectures".into(), json!([classes[usize::from(classifier && !own_head)]]));
    }
    // Readers before version 5 of transformers know the second name.
    keys.insert("dtype".into(), json!("float32"));
    keys.insert("torch_dtype".into(), json!("float32"));
    if !config.is_encoder() || tokenizer.encoder_tokens().is_none() {
        keys.insert("bos_token_id".into(), json!(tokenizer.begin_of_text()));
        keys.insert("eos_token_id".into(), json!(tokenizer.end_of_text()));
    }
    keys.insert("pad_token_id".into(), json!(tokenizer.pad()));
    if classifier {
        let id2label: Map<_, _> =
            label_names.iter().enumerate().map(|(id, name)| (id.to_string(), json!(name))).collect();
        let label2id: Map<_, _> =
            label_names.iter().enumerate().map(|(id, name)| (name.clone(), json!(id))).collect();
        keys.insert("id2label".into(), Value::Object(id2label));
        keys.insert("label2id".into(), Value::Object(label2id));
        keys.insert("problem_type".into(), json!("single_label_classification"));
        keys.insert(POOLING.into(), json!(model.pooling));
        keys.extend(model.decision.map(decision_keys).unwrap_or_default());
    }
    Value::Object(keys)
}

fn decision_keys(decision: &Decision) -> Map<String, Value> {
    let threshold = decision.threshold.map(|threshold| match threshold {
        Threshold::Fixed(threshold) => json!(threshold),
        _ => Value::Null,
    });
    let keys = [
        (POSITIVE, decision.positive.map(|id| json!(id))),
        (THRESHOLD, threshold),
        (TEMPERATURE, decision.temperature.map(|temperature| json!(temperature))),
        (WINDOWS, decision.windows.map(|windows| json!(windows))),
    ];
    keys.into_iter().filter_map(|(key, value)| Some((key.to_string(), value?))).collect()
}

/// The keys of a config.json with how the classifier answers.
pub(super) fn with_decision(config_json: &[u8], decision: &Decision) -> serde_json::Result<Value> {
    let mut keys: Map<String, Value> = serde_json::from_slice(config_json)?;
    keys.extend(decision_keys(decision));
    Ok(Value::Object(keys))
}

/// How a classifier of so many labels answers.
///
/// Errors: a positive label that is none of them, a number out of range.
fn read_decision(keys: &Map<String, Value>, num_labels: usize) -> std::result::Result<Decision, String> {
    let number = |key: &str, fits: fn(f64) -> bool| match keys.get(key).filter(|value| !value.is_null()) {
        None => Ok(None),
        Some(value) => match value.as_f64().filter(|number| fits(*number)) {
            Some(number) => Ok(Some(number)),
            None => Err(format!("{key} is {value}; train the classifier again or remove the key")),
        },
    };
    let positive = number(POSITIVE, |number| number >= 0.0 && number.fract() == 0.0)?;
    if let Some(positive) = positive.filter(|positive| num_labels > 0 && *positive >= num_labels as f64) {
        return Err(format!("{POSITIVE} is {positive}, but there are {num_labels} labels, numbered from 0"));
    }
    let fixed = number(THRESHOLD, |number| (0.0..=1.0).contains(&number))?;
    if fixed.is_some() && positive.is_none() {
        return Err(format!("{THRESHOLD} needs {POSITIVE}, the number of the label that it is about"));
    }
    Ok(Decision {
        positive: positive.map(|positive| positive as usize),
        threshold: keys.contains_key(THRESHOLD).then(|| fixed.into()),
        temperature: number(TEMPERATURE, |number| number > 0.0 && number.is_finite())?,
        windows: number(WINDOWS, |number| (1.0..=MOST_WINDOWS).contains(&number) && number.fract() == 0.0)?
            .map(|windows| windows as usize),
    })
}

/// `model_type` and the family's keys.
pub(super) fn object(config: &ModelConfig) -> Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(keys)) => keys,
        _ => Map::new(),
    }
}

/// The content of generation_config.json.
pub(super) fn generation_config(tokenizer: &Tokenizer) -> Value {
    json!({
        "bos_token_id": tokenizer.begin_of_text(), "eos_token_id": tokenizer.end_of_text(),
        "pad_token_id": tokenizer.pad(), "do_sample": true,
    })
}

/// The content of tokenizer_config.json.
pub(super) fn tokenizer_config(model: &ModelFiles) -> Value {
    let mut keys = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": model.max_tokens,
        "padding_side": "right",
        "clean_up_tokenization_spaces": false,
        // Text that spells a special token is text, here as there.
        "split_special_tokens": true,
    });
    if let (Value::Object(keys), Value::Object(special)) = (&mut keys, special_tokens(model.tokenizer)) {
        keys.extend(special);
        if model.config.is_encoder() && model.config.spec().token_types.is_none() {
            keys.insert("model_input_names".into(), json!(["input_ids", "attention_mask"]));
        }
    }
    keys
}

/// `model_max_length` of tokenizer_config.json in tokens; where it sets none, the largest number there is.
pub(super) fn longest_text(folder: &Path) -> Result<usize> {
    let path = folder.join("tokenizer_config.json");
    if !path.exists() {
        return Ok(usize::MAX);
    }
    let keys: Value = serde_json::from_slice(&files::read(&path)?)
        .map_err(|cause| Error::data(format!("{}: not JSON: {cause}", path.display())))?;
    // transformers writes 1e30 for no limit.
    let limit = keys["model_max_length"].as_u64().filter(|limit| *limit > 0);
    Ok(limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)))
}

/// The content of special_tokens_map.json, for readers before version 5 of transformers.
pub(super) fn special_tokens(tokenizer: &Tokenizer) -> Value {
    let pad = tokenizer.token(tokenizer.pad());
    if let Some([cls, sep, mask, unk]) = tokenizer.encoder_tokens() {
        return json!({
            "cls_token": cls, "sep_token": sep, "mask_token": mask, "unk_token": unk, "pad_token": pad,
        });
    }
    let (begin, end) = (tokenizer.token(tokenizer.begin_of_text()), tokenizer.token(tokenizer.end_of_text()));
    json!({"bos_token": begin, "eos_token": end, "unk_token": end, "pad_token": pad})
}

/// Keys of any config.json that change the mathematics, with the values that mean "as built here"; a family has more.
const AS_BUILT: [(&str, &[&str]); 7] = [
    // Since its version 5 transformers reads causal families in both directions where this is false.
    ("is_causal", &["true"]),
    ("sliding_window", &["null"]),
    ("pretraining_tp", &["1"]),
    ("add_cross_attention", &["false"]),
    ("is_encoder_decoder", &["false"]),
    ("rope_interleaved", &["false"]),
    ("quantization_config", &["null"]),
];

/// Keys without an effect on logits: what files are called, dropout, and how transformers generates or reports.
const WITHOUT_EFFECT: [&str; 76] = [
    "architectures",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "attn_pdrop",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "cls_token_id",
    "decoder_start_token_id",
    "directionality",
    "diversity_penalty",
    "do_sample",
    "dtype",
    "early_stopping",
    "embd_pdrop",
    "encoder_no_repeat_ngram_size",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "hidden_dropout_prob",
    "id2label",
    "is_llama_config",
    "label2id",
    "length_penalty",
    "max_length",
    "min_length",
    "n_ctx",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_labels",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_past",
    "output_scores",
    "pad_token_id",
    "pooler_fc_size",
    "pooler_num_attention_heads",
    "pooler_num_fc_layers",
    "pooler_size_per_head",
    "pooler_type",
    "prefix",
    "problem_type",
    "remove_invalid_values",
    "repetition_penalty",
    "resid_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "rope_parameters",
    "rope_scaling",
    "sep_token_id",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tie_encoder_decoder",
    "tie_word_embeddings",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "transformers.js_config",
    "transformers_version",
    "typical_p",
    "torchscript",
    "use_cache",
    POOLING,
    POSITIVE,
    TEMPERATURE,
    WINDOWS,
    THRESHOLD,
];

/// Sizes, label names and pooling of a folder.
///
/// Errors: missing (66); not a config of these families, or a key that asks for something else (65).
pub(super) fn read(folder: &Path) -> Result<FolderConfig> {
    let path = folder.join("config.json");
    let bytes = files::read(&path)?;
    let wrong = |why: String| Error::data(format!("{}: {why}", path.display()));
    let keys: Map<String, Value> =
        serde_json::from_slice(&bytes).map_err(|cause| wrong(format!("not a JSON object: {cause}")))?;
    let model_type = keys.get("model_type").and_then(Value::as_str).unwrap_or_default();
    let Some(family) = ModelConfig::of_transformers(model_type) else {
        let families = "llama, gpt2, bert and eurobert";
        return Err(wrong(format!("model_type is '{model_type}'; only {families} are supported")));
    };
    let mut ours = object(&family);
    check_keys(&keys, &ours, &family.family_keys()).map_err(wrong)?;
    for (key, value) in &mut ours {
        if let Some(given) = keys.get(key).filter(|given| !given.is_null()) {
            *value = given.clone();
        }
    }
    let rope = keys.get("rope_parameters").or(keys.get("rope_scaling"));
    if let (Some(theta), Some(ours)) =
        (rope.and_then(|rope| rope.get("rope_theta")), ours.get_mut("rope_theta"))
    {
        *ours = theta.clone();
    }
    if ours.get("num_key_value_heads") == Some(&json!(0)) {
        // Absent in files from before grouped queries: one key head per query head.
        ours.insert("num_key_value_heads".into(), ours["num_attention_heads"].clone());
    }
    let config = parse(&ours).map_err(|cause| {
        // The cause does not name its key.
        let alone = |key: &&String| {
            let keys = ["model_type", key.as_str()].map(|key| (key.to_string(), ours[key].clone()));
            parse(&Map::from_iter(keys)).is_err()
        };
        let key = ours.keys().find(alone);
        wrong(key.map_or_else(|| cause.to_string(), |key| format!("{key} is {}: {cause}", ours[key])))
    })?;
    config.check().map_err(|cause| wrong(cause.to_string()))?;
    let labels = keys.get("id2label").and_then(Value::as_object).cloned().unwrap_or_default();
    let name = |id: usize| labels.get(&id.to_string()).and_then(Value::as_str).map(str::to_string);
    let label_names: Option<Vec<String>> = (0..labels.len()).map(name).collect();
    let label_names = label_names.ok_or_else(|| wrong("id2label must number its labels from 0".into()))?;
    let mut names = BTreeSet::new();
    if let Some(twice) = label_names.iter().find(|name| !names.insert(*name)) {
        let why = format!("id2label names two labels {twice:?}");
        return Err(wrong(format!("{why}; give each label a name of its own")));
    }
    let pooling = read_pooling(&keys, &family);
    let decision = read_decision(&keys, label_names.len()).map_err(wrong)?;
    Ok(FolderConfig { config, label_names, pooling, decision })
}

/// How a classifier with these keys pools.
///
/// Errors: in a way that is not built.
fn read_pooling(keys: &Map<String, Value>, family: &ModelConfig) -> std::result::Result<Pooling, String> {
    let said = [POOLING, FORMER_POOLING].into_iter().find_map(|key| Some((key, keys.get(key)?)));
    let Some((key, value)) = said else {
        let why = "is not there, which means a pooling that is not built; only \"mean\" is";
        return family.pooling_unsaid().ok_or_else(|| format!("{POOLING} {why}"));
    };
    serde_json::from_value(value.clone()).map_err(|cause| format!("{key}: {cause}"))
}

/// The model config of these keys.
fn parse(keys: &Map<String, Value>) -> serde_json::Result<ModelConfig> {
    serde_json::from_value(Value::Object(keys.clone()))
}

/// Errors: a key that asks for something this program does not compute, or that it does not know.
fn check_keys(
    keys: &Map<String, Value>,
    ours: &Map<String, Value>,
    family: &FamilyKeys,
) -> std::result::Result<(), String> {
    let of_family = |key: &String| family.without_effect.iter().any(|name| name == key);
    for (key, value) in keys.iter().filter(|(key, _)| !of_family(key)) {
        if let Some((_, allowed)) = AS_BUILT.iter().chain(family.fixed).find(|(name, _)| name == key) {
            if !allowed.contains(&value.to_string().as_str()) {
                return Err(format!("{key} = {value} is not supported, only {}", allowed.join(" or ")));
            }
            continue;
        }
        let known = ours.contains_key(key) || WITHOUT_EFFECT.contains(&key.as_str());
        let known = known || key.starts_with('_') || key.starts_with("summary_");
        let off = match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(items) => items.is_empty(),
            _ => false,
        };
        if !known && !off {
            let why = "is not known here and may change what the model computes";
            return Err(format!("{key} = {value} {why}; remove it if it does not"));
        }
    }
    check_rope(keys)
}

/// Errors: rotary positions that are scaled or cover a part of each head.
fn check_rope(keys: &Map<String, Value>) -> std::result::Result<(), String> {
    for key in ["rope_parameters", "rope_scaling"] {
        let Some(rope) = keys.get(key).filter(|rope| !rope.is_null()) else { continue };
        let plain = rope.as_object().is_some_and(|rope| {
            rope.iter().all(|(key, value)| match key.as_str() {
                "rope_type" | "type" => value == "default",
                "partial_rotary_factor" => value.as_f64() == Some(1.0),
                "rope_theta" => value.is_number(),
                _ => value.is_null(),
            })
        });
        if !plain {
            return Err(format!(
                "{key} = {rope} is not supported, only rope_type \"default\" with rope_theta"
            ));
        }
    }
    Ok(())
}
