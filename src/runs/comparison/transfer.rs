//! The transfer curve of a comparison: fine-tuning from several checkpoints of the pre-training, so that its
//! loss and the task's score stand side by side.

use std::path::{Path, PathBuf};

use super::plan::{Plan, Setting, budget_name};
use crate::checkpoint::{self, Checkpoint};
use crate::error::{Error, ErrorKind, Result};
use crate::hf_folder::{self, ModelFiles};
use crate::results::{Finetuned, TransferPoint};
use crate::runs::Context;

/// Fine-tunes the chosen checkpoints on `budget` labels with every seed; random weights, whose F1 by seed is `scratch`,
/// come first.
///
/// Errors: a pre-training without checkpoints (66); as fine-tuning.
pub fn points(
    plan: &Plan<'_>,
    budget: usize,
    setting: Setting,
    scratch: Vec<f64>,
    context: &Context,
) -> Result<Vec<TransferPoint>> {
    let point = |step, val_loss, f1| TransferPoint { step, val_loss, budget: budget_name(budget), f1 };
    let mut points = vec![point(0, None, scratch)];
    for folder in chosen(plan)? {
        let (step, val_loss, model) = as_model(plan, &folder)?;
        let f1 = |seed: &u64| {
            let run = plan.transfer_run(&model, budget, *seed, setting);
            Ok(Finetuned::of(&run, context)?.results.scores.test.f1)
        };
        points.push(point(step, val_loss, plan.config.seeds.iter().map(f1).collect::<Result<_>>()?));
    }
    Ok(points)
}

/// As many checkpoints as wanted, evenly spaced, the last always among them.
fn chosen(plan: &Plan<'_>) -> Result<Vec<PathBuf>> {
    let pretrained = plan.pretrained;
    let all = checkpoint::list(&Path::new(pretrained).join("checkpoints"))?;
    if all.is_empty() {
        let why = format!("{pretrained} has no checkpoints, which transfer_checkpoints needs");
        return Err(Error::new(
            ErrorKind::MissingInput,
            format!("{why}; pre-train with train.keep_checkpoints = 0"),
        ));
    }
    let wanted = plan.config.transfer_checkpoints.min(all.len());
    let mut places: Vec<usize> = (1..=wanted).map(|i| i * all.len() / wanted - 1).collect();
    places.dedup();
    Ok(places.into_iter().map(|place| all[place].clone()).collect())
}

/// Writes the checkpoint as a model folder; its step, its validation loss, and where the folder is.
fn as_model(plan: &Plan<'_>, folder: &Path) -> Result<(u64, Option<f64>, String)> {
    let checkpoint = Checkpoint::load(folder)?;
    let step = checkpoint.counters.step;
    let target = format!("{}/transfer/step_{step:06}", plan.config.output_dir);
    let source = hf_folder::load(&hf_folder::locate(Path::new(plan.pretrained))?)?;
    let files = ModelFiles { weights: &checkpoint.model, ..source.files() };
    hf_folder::save(Path::new(&target), &files)?;
    Ok((step, checkpoint.counters.history.last().map(|(_, val_loss)| *val_loss), target))
}
