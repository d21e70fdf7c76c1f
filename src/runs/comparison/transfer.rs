//! The transfer curve of a comparison: fine-tuning from several checkpoints of the pre-training, so that its
//! loss and the task's score stand side by side.

use std::path::Path;

use super::{arm_config, budget_name, budgets, search};
use crate::checkpoint::{self, Checkpoint};
use crate::config::CompareConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::hf_folder::{self, ModelFiles};
use crate::results::{Arm, FinetuneResults, TransferPoint, cell_folder};
use crate::run_dir::{is_done, read_json};
use crate::runs::Context;
use crate::runs::finetune::finetune;

/// Fine-tunes the chosen checkpoints on the smallest budget with every seed; random weights come first.
///
/// Errors: a pre-training without checkpoints (66); as fine-tuning.
pub fn points(config: &CompareConfig, pretrained: &str, context: &Context) -> Result<Vec<TransferPoint>> {
    if config.transfer_checkpoints == 0 {
        return Ok(Vec::new());
    }
    let budget = budgets(config)[0];
    let scratch: Result<Vec<f64>> = config
        .seeds
        .iter()
        .map(|seed| {
            let cell = cell_folder(Arm::Scratch, &budget_name(budget), *seed);
            read_json::<FinetuneResults>(&Path::new(&config.output_dir).join(cell), "results.json")
                .map(|results| results.scores.test.f1)
        })
        .collect();
    let mut points =
        vec![TransferPoint { step: 0, val_loss: None, budget: budget_name(budget), f1: scratch? }];
    for folder in chosen(config, pretrained)? {
        let (step, val_loss, model) = as_model(config, pretrained, &folder)?;
        let mut f1 = Vec::new();
        for &seed in &config.seeds {
            let mut one = arm_config(config, pretrained, Arm::Pretrained, budget, seed)?;
            search::choose(config, pretrained, Arm::Pretrained, budget, context)?.setting.apply(&mut one);
            one.init_from.clone_from(&model);
            one.output_dir = format!("{model}-{}-seed{seed}", budget_name(budget));
            if !is_done(Path::new(&one.output_dir)) {
                finetune(&one, context)?;
            }
            f1.push(read_json::<FinetuneResults>(Path::new(&one.output_dir), "results.json")?.scores.test.f1);
        }
        points.push(TransferPoint { step, val_loss, budget: budget_name(budget), f1 });
    }
    Ok(points)
}

/// As many checkpoints as wanted, evenly spaced, the last always among them.
fn chosen(config: &CompareConfig, pretrained: &str) -> Result<Vec<std::path::PathBuf>> {
    let all = checkpoint::list(&Path::new(pretrained).join("checkpoints"));
    if all.is_empty() {
        let why = format!("{pretrained} has no checkpoints, which transfer_checkpoints needs");
        return Err(Error::new(
            ErrorKind::MissingInput,
            format!("{why}; pre-train with train.keep_checkpoints = 0"),
        ));
    }
    let wanted = config.transfer_checkpoints.min(all.len());
    let mut places: Vec<usize> = (1..=wanted).map(|i| i * all.len() / wanted - 1).collect();
    places.dedup();
    Ok(places.into_iter().map(|place| all[place].clone()).collect())
}

/// Writes the checkpoint as a model folder; its step, its validation loss, and where the folder is.
fn as_model(config: &CompareConfig, pretrained: &str, folder: &Path) -> Result<(u64, Option<f64>, String)> {
    let checkpoint = Checkpoint::load(folder)?;
    let step = checkpoint.counters.step;
    let target = format!("{}/transfer/step_{step:06}", config.output_dir);
    let source = hf_folder::load(&hf_folder::locate(Path::new(pretrained))?)?;
    if !Path::new(&target).exists() {
        let files = ModelFiles { weights: &checkpoint.model, ..source.files() };
        hf_folder::save(Path::new(&target), &files)?;
    }
    Ok((step, checkpoint.counters.history.last().map(|(_, val_loss)| *val_loss), target))
}
