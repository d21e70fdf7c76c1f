//! The baselines of a comparison: fitted on the same rows as the arms, kept like them.

use std::path::Path;
use std::time::Instant;

use super::plan::budget_name;
use crate::baseline::{Features, LinearLoss, Majority, NgramKind, Ngrams};
use crate::config::CompareConfig;
use crate::data::{Example, LabelledSplit};
use crate::error::{Error, Result};
use crate::files;
use crate::metrics::{Scores, Threshold};
use crate::results::{Arm, BaselineResults, Baselined, Predictions, cell_folder};
use crate::run_dir::Manifest;

/// Every baseline on the rows of a budget and seed, as stored where it was made from the same rows by this program, else
/// fitted here; setting and threshold are chosen on validation as for the arms.
pub fn baselines(config: &CompareConfig, budget: usize, seed: u64) -> Result<Vec<(Arm, Baselined)>> {
    let mut data = config.finetune.data.clone();
    (data.label_budget, data.budget_seed) = (budget, seed);
    let split = LabelledSplit::load(&data)?;
    let positive = &split.label_names[split.positive];
    let program = Manifest::new("baseline", seed, "", 0, "").program();
    let made_from = files::sha256(format!("{} {positive} {seed} {program}", split.sha256).as_bytes());
    let of = |arm: Arm| {
        let folder = Path::new(&config.output_dir).join(cell_folder(arm, &budget_name(budget), seed));
        let stored = Baselined::read(&folder).ok();
        let same = stored.filter(|stored| stored.results.made_from == made_from);
        let fitted = same.map_or_else(|| baseline(arm, &split, seed, &made_from, &folder), Ok);
        fitted.map(|fitted| (arm, fitted))
    };
    Arm::BASELINES.into_iter().map(of).collect()
}

/// Fits the baseline on the training rows, chooses setting and threshold on validation, and writes results and
/// predictions into `folder`.
fn baseline(arm: Arm, split: &LabelledSplit, seed: u64, made_from: &str, folder: &Path) -> Result<Baselined> {
    let started = Instant::now();
    let texts = |rows: &[Example]| rows.iter().map(|row| row.text.clone()).collect::<Vec<_>>();
    let labels = |rows: &[Example]| rows.iter().map(|row| row.label).collect::<Vec<_>>();
    let (num_labels, positive) = (split.label_names.len(), split.positive);
    let kind = |features, loss| Some(NgramKind { features, loss });
    let kind = match arm {
        Arm::CharSvm => kind(Features::Chars, LinearLoss::SquaredHinge),
        Arm::CharNgram => kind(Features::Chars, LinearLoss::Logistic),
        Arm::WordNgram => kind(Features::Words, LinearLoss::Logistic),
        _ => None,
    };
    let (setting, on_validation, on_test) = if let Some(kind) = kind {
        let pairs =
            |rows: &[Example]| rows.iter().map(|row| (row.text.clone(), row.label)).collect::<Vec<_>>();
        let leading = split.positive_leads.then_some(positive);
        let model = Ngrams::fit(kind, &pairs(&split.train), &pairs(&split.validation), num_labels, leading)?;
        let said = |rows: &[Example]| model.probabilities(&texts(rows));
        (format!("{}, C {}", arm.name(), model.c()), said(&split.validation), said(&split.test))
    } else {
        let model = Majority::fit(&labels(&split.train), num_labels);
        let said = |rows: &[Example]| model.probabilities(rows.len());
        (arm.name().to_string(), said(&split.validation), said(&split.test))
    };
    let wall_secs = started.elapsed().as_secs_f64();
    let scores = |rows: &[Example], probabilities: &[Vec<f64>], threshold| {
        Scores::compute(&labels(rows), probabilities, &split.label_names, positive, threshold, Some(seed))
    };
    // It predicts the majority class; a moved threshold would call everything positive.
    let choice = if kind.is_some() { split.threshold() } else { Threshold::Fixed(0.5) };
    let validation = scores(&split.validation, &on_validation, choice)?;
    let test = scores(&split.test, &on_test, validation.threshold.into())?;

    let predictions = Predictions {
        label_names: split.label_names.clone(),
        labels: labels(&split.test),
        probabilities: on_test,
        text_sha256: split.test.iter().map(|row| files::sha256(row.text.as_bytes())).collect(),
    };
    std::fs::create_dir_all(folder).map_err(|cause| Error::writing(folder, &cause))?;
    files::sweep(folder);
    predictions.write(&folder.join("predictions.jsonl"), positive, test.threshold)?;
    let results = BaselineResults {
        phase: "baseline".into(),
        made_from: made_from.into(),
        setting,
        positive: split.label_names[positive].clone(),
        train_rows: split.train.len(),
        validation,
        test,
        wall_secs,
    };
    let json = serde_json::to_vec_pretty(&results).map_err(Error::data)?;
    // Last, so that results stand for a baseline that is complete.
    files::write_atomic(&folder.join("results.json"), &json)?;
    Ok(Baselined { results, predictions })
}
