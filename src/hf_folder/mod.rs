//! A model folder in Hugging Face layout: config.json, safetensors, tokenizer files, model card; adapters; GGUF files.
//!
//! Layer 4. What this program writes, transformers loads; what it reads may come from transformers. Keys
//! that would change the mathematics are refused by name.

mod adapter;
mod card;
mod config;
mod folder;
mod gguf;
mod weights;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

pub use self::adapter::{Base, save_adapter};
pub use self::card::{Sources, write_classifier_card, write_language_card};
pub use self::config::FolderConfig;
pub use self::folder::{Decision, HfFolder, ModelFiles};
pub use self::gguf::{Quantization, write_gguf};
pub use self::weights::shards;
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::files::gguf::{Gguf, is_named_gguf};
use crate::model::{Head, ParamSpec, Pooling, gives_logits, is_head, parameter_specs};
use crate::run_dir;
use crate::tensor_file;
use crate::tokenizer::Tokenizer;

/// Where a model lies: `path/model` of a finished run, or `path` itself, a folder or a GGUF file.
///
/// Errors: none of these is there (66); a run that has not finished (65).
pub fn locate(path: &Path) -> Result<PathBuf> {
    if is_named_gguf(path) {
        files::check_regular(path)?;
        return Ok(path.to_path_buf());
    }
    if let Some(folder) = run_dir::finished_model(path)? {
        return Ok(folder);
    }
    if path.join("config.json").exists() {
        return Ok(path.to_path_buf());
    }
    let why = "it holds neither run.json nor config.json";
    let why =
        format!("{why}; name a run directory, a Hugging Face folder or a file whose name ends in .gguf");
    Err(Error::new(ErrorKind::MissingInput, format!("no model at {}: {why}", path.display())))
}

/// Writes a model folder.
///
/// Errors: the place cannot be written (73), disk full (74).
pub fn save(folder: &Path, model: &ModelFiles) -> Result<()> {
    write_folder(folder, |folder| {
        write_json(folder, "config.json", &config::config_json(model))?;
        write_json(folder, "tokenizer_config.json", &config::tokenizer_config(model))?;
        if model.label_names.is_empty() && !model.config.is_encoder() {
            write_json(folder, "generation_config.json", &config::generation_config(model.tokenizer))?;
        }
        write_tokenizer(folder, model.tokenizer)?;
        tensor_file::write(&folder.join("model.safetensors"), model.weights).map(drop)
    })
}

/// Writes the folder whole: under another name first, then in the place of what was there.
fn write_folder(folder: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    run_dir::replace_folder(folder, &run_dir::MODEL_FILES, write)
}

fn write_json(folder: &Path, name: &str, value: &Value) -> Result<()> {
    let text = serde_json::to_vec_pretty(value).map_err(|cause| Error::data(format!("{name}: {cause}")))?;
    files::write_synced(&folder.join(name), &text)
}

fn write_tokenizer(folder: &Path, tokenizer: &Tokenizer) -> Result<()> {
    write_json(folder, "special_tokens_map.json", &config::special_tokens(tokenizer))?;
    files::write_synced(&folder.join("tokenizer.json"), tokenizer.json())
}

/// Says in the config.json of a classifier how it answers.
///
/// Errors: no config.json there (66), damaged (65), the place cannot be written (73, 74).
pub fn save_decision(folder: &Path, decision: &Decision) -> Result<()> {
    let path = folder.join("config.json");
    let keys = config::with_decision(&files::read(&path)?, decision)
        .map_err(|cause| Error::data(format!("{}: {cause}", path.display())))?;
    let text = serde_json::to_vec_pretty(&keys).map_err(Error::data)?;
    files::write_atomic(&path, &text)
}

/// Sizes and label names of a folder or GGUF file.
///
/// Errors: as `load`.
pub fn read_config(path: &Path) -> Result<FolderConfig> {
    if !is_named_gguf(path) {
        return config::read(path);
    }
    let config = gguf::read_config(&Gguf::open(path)?)?;
    Ok(FolderConfig {
        config,
        label_names: Vec::new(),
        pooling: Ok(Pooling::default()),
        decision: Decision::default(),
    })
}

/// Reads the folder or GGUF file; tensors must be exactly those the config calls for, in a folder with a head of either
/// kind.
///
/// Errors: a file is missing (66), damaged, or asks for something that is not built (65).
pub fn load(path: &Path) -> Result<HfFolder> {
    let read = if is_named_gguf(path) { gguf::load(path) } else { load_folder(path) }?;
    if read.tokenizer.vocab_size() > read.config.vocab_size() {
        let (ids, rows) = (read.tokenizer.vocab_size(), read.config.vocab_size());
        let why = format!("its tokenizer has {ids} ids, its model only {rows} embeddings");
        return Err(Error::data(format!("{} does not fit together: {why}", path.display())));
    }
    Ok(read)
}

fn load_folder(folder: &Path) -> Result<HfFolder> {
    let FolderConfig { config, mut label_names, pooling, decision } = config::read(folder)?;
    let tokenizer = Tokenizer::load(folder)?;
    let path = weights::locate(folder)?;
    let mut weights = weights::read(&path, &config)?;
    let score = weights.iter().find(|(name, _)| gives_logits(name) && name.ends_with(".weight"));
    let wrong = |why: &str| Error::data(format!("{}: {why}", folder.display()));
    let head = match score {
        Some((_, score)) => {
            let pooling = pooling.map_err(|why| wrong(&format!("config.json: {why}")))?;
            if pooling == Pooling::First && config.spec().pooler_of(pooling).is_none() {
                return Err(wrong(
                    "its classifier reads the first token, for which such a model has no pooler",
                ));
            }
            if label_names.is_empty() {
                // transformers leaves its own default names out.
                label_names = (0..score.dims()[0]).map(|id| format!("LABEL_{id}")).collect();
            }
            Head::Classifier { num_labels: label_names.len(), pooling }
        }
        None => {
            label_names.clear();
            Head::LanguageModel
        }
    };
    if config.tie_word_embeddings() {
        weights::tie(&path, &config, &mut weights)?;
    }
    let specs = parameter_specs(&config, head);
    // An encoder that is no classifier may come without the pooler.
    let lacks_pooler = head == Head::LanguageModel && !weights.keys().any(|name| is_head(name));
    let may_lack = |spec: &ParamSpec| lacks_pooler && is_head(&spec.name);
    let expected = specs.into_iter().filter(|spec| weights.contains_key(&spec.name) || !may_lack(spec));
    let expected: BTreeMap<_, _> = expected.map(|spec| (spec.name, spec.shape)).collect();
    tensor_file::check_shapes(&path, &weights, &expected)?;
    weights::check_magnitudes(&path, &weights)?;
    let max_tokens = config::longest_text(folder)?.min(config.max_position_embeddings());
    let pooling = match head {
        Head::Classifier { pooling, .. } => pooling,
        Head::LanguageModel => Pooling::default(),
    };
    Ok(HfFolder { config, label_names, pooling, decision, max_tokens, weights, tokenizer })
}
