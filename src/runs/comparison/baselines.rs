//! The baselines of a comparison: fitted on the same rows as the arms, kept like them.

use std::path::Path;
use std::time::Instant;

use super::plan::{Place, budget_name, data};
use crate::baseline::{Features, LinearLoss, Majority, NgramKind, Ngrams};
use crate::config::CompareConfig;
use crate::data::{Example, LabelledSplit};
use crate::error::{Error, Result};
use crate::files;
use crate::metrics::Threshold;
use crate::results::{Arm, BaselineResults, Baselined, CombinedParts, Predictions, cell_folder};
use crate::run_dir::Manifest;
use crate::runs::beside::{self, BESIDE};

/// Every baseline on the rows of a budget and place, as stored where it was made from the same rows by this program, else
/// fitted here; setting and threshold are chosen on validation as for the arms.
pub fn baselines(config: &CompareConfig, budget: usize, place: Place) -> Result<Vec<(Arm, Baselined)>> {
    let Place { seed, fold } = place;
    let split = LabelledSplit::load(&data(config, budget, place))?;
    let positive = &split.label_names[split.positive];
    let program = Manifest::new("baseline", seed, "", 0, "").program();
    let made_from = files::sha256(format!("{} {positive} {seed} {program}", split.sha256).as_bytes());
    let asked = Asked { split: &split, place, made_from: &made_from };
    let of = |arm: Arm| {
        let folder = Path::new(&config.output_dir).join(cell_folder(arm, &budget_name(budget), seed, fold));
        let stored = Baselined::read(&folder).ok();
        let is_whole = arm != Arm::CharSvm || fold > 0 || Ngrams::is_kept(&folder);
        let same = stored.filter(|stored| is_whole && stored.results.made_from == made_from);
        let fitted = same.map_or_else(|| baseline(&asked, arm, &folder), Ok);
        fitted.map(|fitted| (arm, fitted))
    };
    Arm::BASELINES.into_iter().map(of).collect()
}

/// What baselines are fitted on.
struct Asked<'a> {
    split: &'a LabelledSplit,
    place: Place,
    made_from: &'a str,
}

/// Fits the baseline on the training rows, chooses setting and threshold on validation, and writes results and
/// predictions into `folder`; without folds also the n-grams that answer beside a transformer.
fn baseline(of: &Asked<'_>, arm: Arm, folder: &Path) -> Result<Baselined> {
    let started = Instant::now();
    let &Asked { split, place, made_from } = of;
    let (seed, keeps) = (place.seed, place.fold == 0);
    let texts = |rows: &[Example]| rows.iter().map(|row| row.text.clone()).collect::<Vec<_>>();
    let labels = |rows: &[Example]| rows.iter().map(|row| row.label).collect::<Vec<_>>();
    let (num_labels, positive) = (split.label_names.len(), split.positive);
    let kind = |features, loss| Some(NgramKind { features, loss });
    let kind = match arm {
        Arm::CharSvm => Some(BESIDE),
        Arm::CharNgram => kind(Features::Chars, LinearLoss::Logistic),
        Arm::WordNgram => kind(Features::Words, LinearLoss::Logistic),
        _ => None,
    };
    let (setting, on_validation, on_test) = if let Some(kind) = kind {
        let model = beside::fit(kind, split)?;
        if kind == BESIDE && keeps {
            std::fs::create_dir_all(folder).map_err(|cause| Error::writing(folder, &cause))?;
            model.write(folder)?;
        }
        let said = |rows: &[Example]| model.probabilities(&texts(rows));
        (format!("{}, C {}", arm.name(), model.c()), said(&split.validation), said(&split.test))
    } else {
        let model = Majority::fit(&labels(&split.train), num_labels);
        let said = |rows: &[Example]| model.probabilities(rows.len());
        (arm.name().to_string(), said(&split.validation), said(&split.test))
    };
    let predictions = |rows: &[Example], probabilities| Predictions {
        label_names: split.label_names.clone(),
        labels: labels(rows),
        probabilities,
        text_sha256: rows.iter().map(|row| files::sha256(row.text.as_bytes())).collect(),
    };
    let answers = Answers {
        validation: predictions(&split.validation, on_validation),
        test: predictions(&split.test, on_test),
        positive,
        choice: match split.threshold() {
            // The majority class is what it predicts; a moved threshold would call everything positive.
            Threshold::BestF1 if kind.is_none() => Threshold::Fixed(0.5),
            choice => choice,
        },
    };
    let facts = Facts {
        phase: "baseline",
        made_from,
        setting,
        parts: None,
        train_rows: split.train.len(),
        seed,
        wall_secs: started.elapsed().as_secs_f64(),
    };
    store(answers, facts, folder)
}

/// What was answered, and how labels follow from it.
pub struct Answers {
    /// To the validation rows.
    pub validation: Predictions,
    /// To the test rows.
    pub test: Predictions,
    /// Label that the threshold is about.
    pub positive: usize,
    /// Applied to validation; what it chooses there holds on test.
    pub choice: Threshold,
}

/// Where answers come from.
pub struct Facts<'a> {
    /// `baseline` or `combined`.
    pub phase: &'a str,
    /// SHA-256 over what they were made from.
    pub made_from: &'a str,
    /// What was chosen on validation, in words.
    pub setting: String,
    /// Of combined answers: whose.
    pub parts: Option<CombinedParts>,
    /// Rows fitted on.
    pub train_rows: usize,
    /// Draws the resamples of the intervals.
    pub seed: u64,
    /// Seconds of fitting.
    pub wall_secs: f64,
}

/// Scores the answers and writes them and their results into `folder`.
pub fn store(answers: Answers, facts: Facts<'_>, folder: &Path) -> Result<Baselined> {
    let Answers { validation: on_validation, test: on_test, positive, choice } = answers;
    let validation = on_validation.scores(positive, choice, facts.seed)?;
    let test = on_test.scores(positive, validation.threshold.into(), facts.seed)?;
    std::fs::create_dir_all(folder).map_err(|cause| Error::writing(folder, &cause))?;
    files::sweep(folder);
    on_test.write(&folder.join("predictions.jsonl"), positive, test.threshold)?;
    on_validation.write(&folder.join("validation_predictions.jsonl"), positive, test.threshold)?;
    let results = BaselineResults {
        phase: facts.phase.into(),
        parts: facts.parts,
        made_from: facts.made_from.into(),
        setting: facts.setting,
        positive: on_test.label_names[positive].clone(),
        train_rows: facts.train_rows,
        validation,
        test,
        wall_secs: facts.wall_secs,
    };
    let json = serde_json::to_vec_pretty(&results).map_err(Error::data)?;
    // Last, so that results stand for a baseline that is complete.
    files::write_atomic(&folder.join("results.json"), &json)?;
    Ok(Baselined { results, predictions: on_test, validation_predictions: on_validation })
}
