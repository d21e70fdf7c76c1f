//! Whether the fine-tunings of a comparison fit its rows and its model; known before the pre-training.

use std::path::Path;

use super::plan::Place;
use super::rows;
use crate::config::{CompareConfig, FinetuneConfig, SCRATCH};
use crate::data::LabelledSplit;
use crate::error::{Error, Result};
use crate::hf_folder;
use crate::model::ModelConfig;
use crate::results::folds_of;

/// Errors: a budget, class weights, texts or adapters that do not fit, by key (2); a start that is a classifier (65).
pub fn check(config: &CompareConfig, split: &LabelledSplit) -> Result<()> {
    let check_budgets = |split: &LabelledSplit| {
        config.budgets.iter().try_for_each(|budget| split.check_budget("budgets", *budget))
    };
    check_budgets(split)?;
    if config.folds > 0 {
        for &seed in &config.seeds {
            for fold in folds_of(config.folds) {
                check_budgets(&rows::of_fold(config, Place { seed, fold })?)?;
            }
        }
    }
    let within = |cause: Error| Error::usage(format!("[finetune] {cause}"));
    config.finetune.check_decision(split).map_err(within)?;
    check_arm(&config.finetune, split, &model(config)?).map_err(within)?;
    for (name, start) in &config.starts {
        let within = |cause: Error| Error::usage(format!("[starts.{name}] {cause}"));
        check_arm(start, split, &language_model(&start.init_from)?).map_err(within)?;
    }
    Ok(())
}

/// Errors: class weights, texts, what the head reads or adapters that do not fit rows or model, by key (2).
fn check_arm(config: &FinetuneConfig, split: &LabelledSplit, model: &ModelConfig) -> Result<()> {
    let FinetuneConfig { classifier, train, lora, .. } = config;
    let labels: Vec<u32> = split.train.iter().map(|row| row.label).collect();
    classifier.weights(&labels, split.label_names.len())?;
    train.check_open(model.max_position_embeddings())?;
    classifier.check_for(model)?;
    lora.as_ref().map_or(Ok(Vec::new()), |lora| lora.specs(model)).map(drop)
}

/// Sizes that both arms will have, but for the vocabulary.
fn model(config: &CompareConfig) -> Result<ModelConfig> {
    let start = match (&config.pretrained[..], &config.pretrain.init_from[..]) {
        ("", SCRATCH) => return Ok(config.pretrain.model.clone()),
        ("", start) | (start, _) => start,
    };
    language_model(start)
}

/// Sizes of the model at `start`.
///
/// Errors: as `hf_folder::load`; a classifier (65).
fn language_model(start: &str) -> Result<ModelConfig> {
    let folder = hf_folder::load(&hf_folder::locate(Path::new(start))?)?;
    if !folder.label_names.is_empty() {
        let why = format!("{start} is a classifier, and a comparison starts from a language model");
        return Err(Error::data(format!("{why}; name the pre-training that it came from")));
    }
    Ok(folder.config)
}
