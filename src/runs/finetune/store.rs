//! The trained model on disk: `model/`, and with LoRA `adapter/`.

use super::material::Material;
use crate::config::SCRATCH;
use crate::error::Result;
use crate::hf_folder::{self, Base, ModelFiles, save_adapter};
use crate::hub;
use crate::model::Classifier;
use crate::run_dir::RunDir;
use crate::trainer::State;

/// Writes what was trained: `model/`, into which low-rank updates are merged, and those as `adapter/`. Returns the
/// classifier as stored.
pub fn store(of: &Material<'_>, state: &State, commit: Option<&str>, dir: &RunDir) -> Result<Classifier> {
    let config = of.config;
    let trained = ModelFiles {
        config: &of.model,
        label_names: &of.split.label_names,
        pooling: of.pooling(),
        decision: None,
        max_tokens: config.train.seq_len,
        weights: &state.params.detached(),
        tokenizer: &of.tokenizer,
    };
    let weights = match &config.lora {
        Some(lora) => lora.merged(trained.config, trained.weights)?,
        None => trained.weights.clone(),
    };
    hf_folder::save(&dir.model(), &ModelFiles { weights: &weights, ..trained })?;
    // Over random weights nobody could lay it, and over its base it has the head that the base's config.json means.
    let wanted = config.lora.as_ref().filter(|_| of.model.pooling_unsaid() == Some(trained.pooling));
    if let (Some(lora), Some(name)) = (wanted, base(&config.init_from)?) {
        save_adapter(&dir.adapter(), lora, &Base { name: &name, revision: commit }, &trained)?;
    }
    Ok(Classifier::new(trained.config, &weights, trained.pooling)?)
}

/// What an adapter names as its base: the model's folder, or its name on the Hub; none from scratch.
fn base(init_from: &str) -> Result<Option<String>> {
    if init_from == SCRATCH {
        return Ok(None);
    }
    if hub::is_name(init_from) {
        return Ok(Some(hub::Name::parse(init_from)?.id));
    }
    Ok(Some(hf_folder::locate(init_from.as_ref())?.display().to_string()))
}
