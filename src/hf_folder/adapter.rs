//! An adapter as PEFT stores it: adapter_config.json, adapter_model.safetensors and the tokenizer's files.

use std::path::Path;

use serde_json::json;

use super::{ModelFiles, config, write_folder, write_json, write_tokenizer};
use crate::error::Result;
use crate::model::{LoraConfig, Pooling, Weights};
use crate::ops::WeightLayout;
use crate::tensor_file;

/// Version of PEFT whose files these are.
const PEFT_VERSION: &str = "0.21.2";

/// What an adapter is laid over.
pub struct Base<'a> {
    /// A folder, or a model's name on the Hub.
    pub name: &'a str,
    /// Commit on the Hub.
    pub revision: Option<&'a str>,
}

/// Writes what `lora` trains among `model.weights`, the updates and the classification head, whole or not at all.
///
/// Errors: the place cannot be written (73), disk full (74).
pub fn save_adapter(folder: &Path, lora: &LoraConfig, base: &Base, model: &ModelFiles) -> Result<()> {
    let saved = match model.pooling {
        Pooling::First => vec!["classifier", "pooler"],
        _ => vec!["score"],
    };
    let keys = json!({
        "peft_type": "LORA",
        "peft_version": PEFT_VERSION,
        "task_type": "SEQ_CLS",
        "base_model_name_or_path": base.name,
        "revision": base.revision,
        "r": lora.r,
        "lora_alpha": lora.lora_alpha,
        "lora_dropout": lora.lora_dropout,
        "target_modules": lora.targets(model.config),
        "fan_in_fan_out": model.config.spec().layout == WeightLayout::InOut,
        "bias": "none",
        "use_rslora": false,
        "use_dora": false,
        "init_lora_weights": true,
        "modules_to_save": saved,
        "inference_mode": true,
    });
    let trained = model.weights.iter().filter(|(name, _)| lora.trains(name));
    let tensors: Weights =
        trained.map(|(name, tensor)| (format!("base_model.model.{name}"), tensor.clone())).collect();
    write_folder(folder, |folder| {
        write_json(folder, "adapter_config.json", &keys)?;
        write_json(folder, "tokenizer_config.json", &config::tokenizer_config(model))?;
        write_tokenizer(folder, model.tokenizer)?;
        tensor_file::write(&folder.join("adapter_model.safetensors"), &tensors).map(drop)
    })
}
