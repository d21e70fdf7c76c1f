//! The tensors of a model folder: one safetensors file, or several named by an index.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::model::{Head, ModelConfig, Weights, parameter_specs};
use crate::tensor_file;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    /// File of each tensor.
    weight_map: BTreeMap<String, String>,
}

/// The file that speaks for the tensors of `folder`: all of them, or the index.
///
/// Errors: neither is there (66).
pub(super) fn locate(folder: &Path) -> Result<PathBuf> {
    let found = [SINGLE, INDEX].map(|name| folder.join(name)).into_iter().find(|path| path.exists());
    found.ok_or_else(|| {
        let pickled = folder.join("pytorch_model.bin").exists();
        let hint =
            if pickled { "; pytorch_model.bin is not read, save the model as safetensors" } else { "" };
        let why = format!("no {SINGLE} or {INDEX} in {}{hint}", folder.display());
        Error::new(ErrorKind::MissingInput, why)
    })
}

/// Names of the files that the index at `path` lists.
///
/// Errors: not such an index, or a name that is not a safetensors file of the same folder (65).
pub fn shards(path: &Path) -> Result<BTreeSet<String>> {
    Ok(read_index(path)?.weight_map.into_values().collect())
}

fn read_index(path: &Path) -> Result<Index> {
    let wrong = |why: String| Error::data(format!("{}: {why}", path.display()));
    let index: Index = serde_json::from_slice(&files::read(path)?)
        .map_err(|cause| wrong(format!("not an index of safetensors files: {cause}")))?;
    let plain = |name: &String| !name.contains(['/', '\\']) && name.ends_with(".safetensors");
    match index.weight_map.values().find(|name| !plain(name)) {
        Some(name) => Err(wrong(format!("'{name}' is not the name of a safetensors file beside it"))),
        None if index.weight_map.is_empty() => Err(wrong("it lists no tensors".into())),
        None => Ok(index),
    }
}

/// Every tensor that matters as f32, under the name this program uses: models saved without a head lack the prefix. What
/// an encoder guesses hidden words with is left out: `cls` of BERT, `lm_head` of EuroBERT.
///
/// Errors: as `tensor_file::read`; a tensor that is not in the file the index names (65).
pub(super) fn read(path: &Path, config: &ModelConfig) -> Result<Weights> {
    let found = match path.file_name().is_some_and(|name| name == INDEX) {
        false => tensor_file::read_some(path, |name| !is_buffer(name))?,
        true => read_shards(path)?,
    };
    let prefix = config.spec().prefix;
    let known: BTreeSet<String> =
        parameter_specs(config, Head::LanguageModel).into_iter().map(|spec| spec.name).collect();
    let full_name = |name: String| {
        let name = current_name(name);
        let full = format!("{prefix}{name}");
        if known.contains(&full) { full } else { name }
    };
    let named = found.into_iter().map(|(name, tensor)| (full_name(name), tensor));
    let guesses = |name: &str| name.starts_with("cls.") || name.starts_with("lm_head.");
    Ok(named.filter(|(name, _)| !(config.is_encoder() && guesses(name))).collect())
}

/// A norm's weight and bias were once called otherwise.
fn current_name(name: String) -> String {
    for (old, new) in [("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")] {
        if let Some(module) = name.strip_suffix(old) {
            return format!("{module}{new}");
        }
    }
    name
}

fn read_shards(path: &Path) -> Result<Weights> {
    let index = read_index(path)?;
    let mut all = Weights::new();
    let files: BTreeSet<&String> = index.weight_map.values().collect();
    for file in files {
        let listed = |name: &str| index.weight_map.get(name).is_some_and(|place| place == file);
        let shard = path.with_file_name(file);
        all.extend(tensor_file::read_some(&shard, |name| listed(name) && !is_buffer(name))?);
    }
    let missing = index.weight_map.iter().find(|(name, _)| !is_buffer(name) && !all.contains_key(*name));
    match missing {
        Some((name, file)) => {
            let why = format!("tensor {name} is not in {file}; fetch the model again");
            Err(Error::data(format!("{}: {why}", path.display())))
        }
        None => Ok(all),
    }
}

/// Errors: a value whose square is beyond f32, so that norms would make zeros of all others (65).
pub(super) fn check_magnitudes(path: &Path, weights: &Weights) -> Result<()> {
    const MOST: f32 = 1e18;
    for (name, tensor) in weights {
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        if let Some(value) = values.into_iter().find(|value| value.abs() > MOST) {
            let why = format!("tensor {name} holds {value:e}, which is too large to compute with");
            return Err(Error::data(format!("{}: {why}; fetch or train it again", path.display())));
        }
    }
    Ok(())
}

/// What is computed: causal masks of the original GPT-2 files, rotary frequencies of older Llama files, numbers of
/// positions of BERT's.
fn is_buffer(name: &str) -> bool {
    const ENDS: [&str; 5] = [
        ".attn.bias",
        ".attn.masked_bias",
        ".rotary_emb.inv_freq",
        "embeddings.position_ids",
        "embeddings.token_type_ids",
    ];
    ENDS.iter().any(|end| name.ends_with(end))
}

/// Where head and embeddings are one tensor, leaves it under the name of the embeddings alone.
///
/// Some writers store it twice, others once under the name of the head (`save_model` of safetensors).
/// Errors: two tensors that differ (65).
pub(super) fn tie(path: &Path, config: &ModelConfig, weights: &mut Weights) -> Result<()> {
    const HEAD: &str = "lm_head.weight";
    let embedding = config.spec().embedding.name;
    let Some(head) = weights.remove(HEAD) else { return Ok(()) };
    let Some(own) = weights.get(&embedding) else {
        weights.insert(embedding, head);
        return Ok(());
    };
    let values = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
    if own.dims() == head.dims() && values(own)? == values(&head)? {
        return Ok(());
    }
    let why = format!("{HEAD} is another tensor than {embedding}, though config.json ties them");
    let hint = "set tie_word_embeddings to false there to use both, or remove it to use the embeddings alone";
    Err(Error::data(format!("{}: {why}; {hint}", path.display())))
}
