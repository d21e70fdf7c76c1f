//! Reading, with every tensor as f32.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::super::folder::{Decision, HfFolder};
use super::super::weights;
use super::tensors::Tensors;
use super::{Layout, keys, named};
use crate::error::Result;
use crate::files::gguf::{Gguf, shown};
use crate::model::{Head, ModelConfig, Pooling, Weights, parameter_specs};
use crate::tokenizer::Tokenizer;

/// The language model in the file at `path`.
///
/// Errors: missing (66); damaged, or asks for something that is not built (65).
pub fn load(path: &Path) -> Result<HfFolder> {
    let file = Gguf::open(path)?;
    let config = keys::read_config(&file)?;
    let tokenizer = Tokenizer::of_gguf(&file)?;
    let weights = read_weights(&file, &config)?;
    weights::check_magnitudes(path, &weights)?;
    Ok(HfFolder {
        label_names: Vec::new(),
        pooling: Pooling::default(),
        decision: Decision::default(),
        max_tokens: config.max_position_embeddings(),
        config,
        weights,
        tokenizer,
    })
}

/// Every tensor under our name and as it is here.
///
/// Errors: one is missing, of another shape, or more than the config calls for (65).
fn read_weights(file: &Gguf, config: &ModelConfig) -> Result<Weights> {
    let (tensors, named) = (Tensors::of(file)?, named(config));
    let mut known: BTreeSet<&str> = named.iter().map(|named| named.there.as_str()).collect();
    // The embedding again, where they are tied.
    known.insert(super::HEAD);
    if let Some(extra) = tensors.names().find(|name| !known.contains(name)) {
        let why = format!("tensor {} is none of such a model, so its mathematics is another", shown(extra));
        let hint = "take a Llama or GPT-2 without biases of attention, rope scaling or experts";
        return Err(file.wrong(format!("{why}; {hint}")));
    }
    let specs = parameter_specs(config, Head::LanguageModel);
    let shapes: BTreeMap<&str, &[usize]> =
        specs.iter().map(|spec| (spec.name.as_str(), spec.shape.as_slice())).collect();
    let read = |named: super::Named| {
        let mut shape = shapes[named.here.as_str()].to_vec();
        if let Layout::Transposed = named.layout {
            shape.reverse();
        }
        Ok((named.here, named.layout.here(&tensors.read(&named.there, &shape)?)?))
    };
    named.into_iter().map(read).collect()
}
