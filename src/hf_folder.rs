//! A model folder in Hugging Face layout: config.json, model.safetensors, tokenizer files.
//!
//! Layer 4. What this program writes, transformers loads; what it reads may come from transformers. Keys
//! that would change the mathematics are refused by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Device;
use serde_json::{Map, Value, json};

use crate::error::{Error, Exit, Result};
use crate::files;
use crate::model::{Gpt2Config, Head, LlamaConfig, ModelConfig, Weights, parameter_specs};
use crate::tensor_file;
use crate::tokenizer::Tokenizer;

/// A model on disk with its tokenizer.
pub struct HfFolder {
    /// Sizes.
    pub config: ModelConfig,
    /// Class names in label order; empty for a language model.
    pub label_names: Vec<String>,
    /// Tensors by name.
    pub weights: Weights,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
}

impl HfFolder {
    /// The tensors on `device`, for a model without autograd.
    pub fn weights_on(&self, device: &Device) -> Result<Weights> {
        let moved = self.weights.iter().map(|(name, tensor)| Ok((name.clone(), tensor.to_device(device)?)));
        moved.collect()
    }
}

/// Where a model folder lies: `path/model` of a finished run, or `path` itself.
///
/// Errors: neither is there (66); a run that has not finished (65).
pub fn locate(path: &Path) -> Result<PathBuf> {
    if path.join("run.json").exists() {
        let folder = crate::run_dir::model_folder(path);
        if folder.join("config.json").exists() {
            return Ok(folder);
        }
        let why = format!("the run in {} has not finished; go on with it by --resume", path.display());
        return Err(Error::data(why));
    }
    if path.join("config.json").exists() {
        return Ok(path.to_path_buf());
    }
    let why = "it holds neither run.json nor config.json; name a run directory or a Hugging Face folder";
    Err(Error::new(Exit::MissingInput, format!("no model at {}: {why}", path.display())))
}

/// Writes the folder whole: under another name first, then renamed over what was there.
pub fn save(
    folder: &Path,
    config: &ModelConfig,
    label_names: &[String],
    weights: &Weights,
    tokenizer: &Tokenizer,
) -> Result<()> {
    let temporary = folder.with_extension("tmp");
    if temporary.exists() {
        std::fs::remove_dir_all(&temporary).map_err(|cause| Error::writing(&temporary, &cause))?;
    }
    std::fs::create_dir_all(&temporary).map_err(|cause| Error::writing(&temporary, &cause))?;
    let write = |name: &str, value: &Value| {
        let text =
            serde_json::to_vec_pretty(value).map_err(|cause| Error::data(format!("{name}: {cause}")))?;
        files::write_synced(&temporary.join(name), &text)
    };
    write("config.json", &config_json(config, label_names, tokenizer))?;
    write("tokenizer_config.json", &tokenizer_config(config, tokenizer))?;
    write("special_tokens_map.json", &special_tokens(tokenizer))?;
    if label_names.is_empty() {
        let (end, pad) = (tokenizer.end_of_text(), tokenizer.pad());
        let generation =
            json!({"bos_token_id": end, "eos_token_id": end, "pad_token_id": pad, "do_sample": true});
        write("generation_config.json", &generation)?;
    }
    files::write_synced(&temporary.join("tokenizer.json"), tokenizer.json())?;
    tensor_file::write(&temporary.join("model.safetensors"), weights)?;
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(|cause| Error::writing(folder, &cause))?;
    }
    std::fs::rename(&temporary, folder).map_err(|cause| Error::writing(folder, &cause))?;
    files::sync_parent(folder)
}

/// Reads the folder; tensors must be exactly those the config calls for, with a head of either kind.
///
/// Errors: a file is missing (66), damaged, or asks for something that is not built (65).
pub fn load(folder: &Path) -> Result<HfFolder> {
    let (config, label_names) = read_config(folder)?;
    let tokenizer = Tokenizer::load(&folder.join("tokenizer.json"))?;
    let path = folder.join("model.safetensors");
    let mut weights = tensor_file::read(&path)?;
    if matches!(config, ModelConfig::Gpt2(_)) {
        weights = with_gpt2_prefix(weights);
    }
    let head = if weights.contains_key("score.weight") {
        Head::Classifier { num_labels: label_names.len() }
    } else {
        Head::LanguageModel
    };
    if config.tie_word_embeddings() {
        // Some writers store the tied head a second time.
        weights.remove("lm_head.weight");
    }
    let specs = parameter_specs(&config, head);
    let expected: BTreeMap<_, _> = specs.into_iter().map(|spec| (spec.name, spec.shape)).collect();
    tensor_file::check_shapes(&path, &weights, &expected)?;
    if tokenizer.vocab_size() > config.vocab_size() {
        let (ids, rows) = (tokenizer.vocab_size(), config.vocab_size());
        let why = format!("its tokenizer has {ids} ids, its model only {rows} embeddings");
        return Err(Error::data(format!("{} does not fit together: {why}", folder.display())));
    }
    let label_names = if head == Head::LanguageModel { Vec::new() } else { label_names };
    Ok(HfFolder { config, label_names, weights, tokenizer })
}

/// The original GPT-2 files lack the prefix and carry causal masks as buffers.
fn with_gpt2_prefix(weights: Weights) -> Weights {
    let renamed = weights.into_iter().filter_map(|(name, tensor)| {
        if name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias") {
            return None;
        }
        let bare = ["wte.", "wpe.", "h.", "ln_f."].iter().any(|start| name.starts_with(start));
        Some((if bare { format!("transformer.{name}") } else { name }, tensor))
    });
    renamed.collect()
}

fn config_json(config: &ModelConfig, label_names: &[String], tokenizer: &Tokenizer) -> Value {
    let mut keys = match serde_json::to_value(config) {
        Ok(Value::Object(keys)) => keys,
        _ => Map::new(),
    };
    let classifier = !label_names.is_empty();
    let (architecture, more) = match config {
        ModelConfig::Llama(c) => (
            if classifier { "LlamaForSequenceClassification" } else { "LlamaForCausalLM" },
            json!({
                "head_dim": config.head_dim(), "hidden_act": "silu", "attention_bias": false, "mlp_bias": false,
                "attention_dropout": 0.0,
                "rope_parameters": {"rope_type": "default", "rope_theta": c.rope_theta},
            }),
        ),
        ModelConfig::Gpt2(_) => (
            if classifier { "GPT2ForSequenceClassification" } else { "GPT2LMHeadModel" },
            json!({
                "n_inner": config.intermediate_size(), "activation_function": "gelu_new",
                "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0,
                "scale_attn_weights": true, "scale_attn_by_inverse_layer_idx": false,
                "reorder_and_upcast_attn": false,
            }),
        ),
    };
    keys.extend(more.as_object().cloned().unwrap_or_default());
    keys.insert("architectures".into(), json!([architecture]));
    // Readers before version 5 of transformers know the second name.
    keys.insert("dtype".into(), json!("float32"));
    keys.insert("torch_dtype".into(), json!("float32"));
    for name in ["bos_token_id", "eos_token_id"] {
        keys.insert(name.into(), json!(tokenizer.end_of_text()));
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
    }
    Value::Object(keys)
}

fn tokenizer_config(config: &ModelConfig, tokenizer: &Tokenizer) -> Value {
    let mut keys = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.max_position_embeddings(),
        "padding_side": "right",
        "clean_up_tokenization_spaces": false,
    });
    if let (Value::Object(keys), Value::Object(special)) = (&mut keys, special_tokens(tokenizer)) {
        keys.extend(special);
    }
    keys
}

fn special_tokens(tokenizer: &Tokenizer) -> Value {
    let end = tokenizer.token(tokenizer.end_of_text());
    json!({"bos_token": end, "eos_token": end, "unk_token": end, "pad_token": tokenizer.token(tokenizer.pad())})
}

/// Keys of config.json that change the mathematics, with the values that mean "as built here".
const AS_BUILT: [(&str, &[&str]); 13] = [
    ("hidden_act", &["\"silu\""]),
    ("activation_function", &["\"gelu_new\"", "\"gelu_pytorch_tanh\""]),
    ("rope_scaling", &["null"]),
    ("sliding_window", &["null"]),
    ("attention_bias", &["false"]),
    ("mlp_bias", &["false"]),
    ("pretraining_tp", &["1"]),
    ("scale_attn_weights", &["true"]),
    ("scale_attn_by_inverse_layer_idx", &["false"]),
    ("reorder_and_upcast_attn", &["false"]),
    ("add_cross_attention", &["false"]),
    ("is_encoder_decoder", &["false"]),
    ("quantization_config", &["null"]),
];

/// Sizes and label names of a folder.
///
/// Errors: as `load`.
pub fn read_config(folder: &Path) -> Result<(ModelConfig, Vec<String>)> {
    let path = folder.join("config.json");
    let bytes = files::read(&path)?;
    let wrong = |why: String| Error::data(format!("{}: {why}", path.display()));
    let keys: Map<String, Value> =
        serde_json::from_slice(&bytes).map_err(|cause| wrong(format!("not a JSON object: {cause}")))?;
    for (key, allowed) in AS_BUILT {
        if let Some(value) = keys.get(key)
            && !allowed.contains(&value.to_string().as_str())
        {
            return Err(wrong(format!("{key} = {value} is not supported, only {}", allowed.join(" or "))));
        }
    }
    let rope = keys.get("rope_parameters").cloned().unwrap_or(Value::Null);
    if rope.get("rope_type").is_some_and(|kind| kind != "default") {
        return Err(wrong(format!("rope_parameters {rope} is not supported, only rope_type \"default\"")));
    }
    let family = keys.get("model_type").and_then(Value::as_str).unwrap_or_default();
    let known = match family {
        "llama" => serde_json::to_value(LlamaConfig::default()),
        "gpt2" => serde_json::to_value(Gpt2Config::default()),
        other => return Err(wrong(format!("model_type is '{other}'; only llama and gpt2 are supported"))),
    };
    let known = known.map_err(|cause| wrong(cause.to_string()))?;
    let of_ours = |(key, value): (&String, &Value)| {
        let ours = key == "model_type" || known.get(key).is_some();
        (ours && !value.is_null()).then(|| (key.clone(), value.clone()))
    };
    let mut ours: Map<String, Value> = keys.iter().filter_map(of_ours).collect();
    if let (Some(theta), "llama") = (rope.get("rope_theta"), family) {
        ours.insert("rope_theta".into(), theta.clone());
    }
    if family == "llama" && !ours.contains_key("num_key_value_heads") {
        // Absent in files from before grouped queries: one key head per query head.
        ours.insert(
            "num_key_value_heads".into(),
            ours.get("num_attention_heads").cloned().unwrap_or_default(),
        );
    }
    if family == "llama" && !ours.contains_key("tie_word_embeddings") {
        // transformers' own default, unlike ours.
        ours.insert("tie_word_embeddings".into(), json!(false));
    }
    let config: ModelConfig =
        serde_json::from_value(Value::Object(ours)).map_err(|cause| wrong(cause.to_string()))?;
    config.check().map_err(wrong)?;
    let labels = keys.get("id2label").and_then(Value::as_object).cloned().unwrap_or_default();
    let name = |id: usize| labels.get(&id.to_string()).and_then(Value::as_str).map(str::to_string);
    let label_names: Option<Vec<String>> = (0..labels.len()).map(name).collect();
    let label_names = label_names.ok_or_else(|| wrong("id2label must number its labels from 0".into()))?;
    Ok((config, label_names))
}
