//! `train compare`: pre-train once, then fine-tune from it and from scratch on every seed and label budget.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use super::fetch::Fetcher;
use super::finetune::finetune;
use super::lifecycle;
use super::pretrain::pretrain;
use super::{Options, print_run};
use crate::baseline::{CharNgram, Majority};
use crate::config::{CompareConfig, FinetuneConfig, PretrainConfig, SCRATCH};
use crate::data::LabelledSplit;
use crate::error::{Error, Result};
use crate::files;
use crate::hf_folder;
use crate::metrics::{Scores, Threshold};
use crate::progress::Progress;
use crate::report::{self, Arm, BaselineResults, BudgetRuns, FinetuneResults, Style, compare_report};
use crate::run_dir::{Existing, Manifest, RunDir, Status, is_done, read_json};

/// Keys that may change when a comparison goes on: more seeds or budgets only add runs.
const HARMLESS: [&str; 3] = ["device", "seeds", "budgets"];

/// Runs the command and prints its report.
///
/// Errors: as pre-training and fine-tuning; everything finished so far stays, `--resume` goes on from there.
pub fn run(config: &CompareConfig, options: &Options, progress: &Progress) -> Result<()> {
    let started = Instant::now();
    let mut fetcher = Fetcher::new(progress);
    let config = &fetcher.compare(config)?;
    let dir = RunDir::open(Path::new(&config.output_dir), options.existing)?;
    if options.existing == Existing::Resume && dir.config().exists() {
        lifecycle::check_unchanged(&dir.config(), config, &HARMLESS, progress)?;
    }
    if options.existing == Existing::Overwrite {
        dir.clear()?;
    }
    files::write_atomic(&dir.config(), crate::config::to_toml(config)?.as_bytes())?;
    let mut manifest =
        Manifest::new("compare", config.seeds[0], &config.device, crate::device::threads(), SCRATCH);
    manifest.hub_commits = fetcher.commits;
    let before = read_json::<report::CompareResults>(dir.path(), "results.json").map_or(0.0, |r| r.wall_secs);
    dir.write_manifest(&manifest)?;

    let inner = Options { existing: Existing::Resume, ..options.clone() };
    let pretrained = match config.pretrained.as_str() {
        "" => {
            let pretraining = pretraining(config);
            pretrain(&pretraining, &inner, progress)?;
            pretraining.output_dir
        }
        given => given.to_string(),
    };
    let runs = all_runs(config, &pretrained, &inner, progress)?;
    let results = report::compare(&config.seeds, &runs, before + started.elapsed().as_secs_f64());
    dir.write_json("results.json", &results)?;
    files::write_atomic(&dir.path().join("report.md"), compare_report(&results, Style::Markdown).as_bytes())?;
    manifest.status = Status::Done;
    dir.write_manifest(&manifest)?;
    print_run(dir.path(), options.json, progress)
}

/// The pre-training inside the comparison's directory.
fn pretraining(config: &CompareConfig) -> PretrainConfig {
    PretrainConfig {
        output_dir: format!("{}/pretrain", config.output_dir),
        device: config.device.clone(),
        ..config.pretrain.clone()
    }
}

/// The config of one fine-tuning. The arms of one seed and budget differ in `init_from` alone, and in where
/// they are stored.
///
/// Errors: no pre-trained model at `pretrained`.
pub fn arm_config(
    config: &CompareConfig,
    pretrained: &str,
    arm: Arm,
    budget: usize,
    seed: u64,
) -> Result<FinetuneConfig> {
    let folder = hf_folder::locate(Path::new(pretrained))?;
    let model = hf_folder::read_config(&folder)?.config;
    let mut one = config.finetune.clone();
    one.output_dir = format!("{}/{}", config.output_dir, run_name(arm, budget, seed));
    one.device = config.device.clone();
    one.seed = seed;
    one.data.label_budget = budget;
    one.data.budget_seed = seed;
    one.tokenizer.path = folder.display().to_string();
    one.model = Some(model);
    one.init_from = SCRATCH.into();
    if arm == Arm::Pretrained {
        one.init_from = pretrained.into();
    }
    Ok(one)
}

fn run_name(arm: Arm, budget: usize, seed: u64) -> String {
    format!("{}-{}-seed{seed}", arm.key(), budget_name(budget))
}

fn budget_name(budget: usize) -> String {
    if budget == 0 { "all".into() } else { budget.to_string() }
}

/// Every budget in rising order, every seed, both arms and both baselines; what is done is read, not redone.
fn all_runs(
    config: &CompareConfig,
    pretrained: &str,
    options: &Options,
    progress: &Progress,
) -> Result<Vec<BudgetRuns>> {
    let mut budgets = config.budgets.clone();
    budgets.sort_by_key(|budget| if *budget == 0 { usize::MAX } else { *budget });
    let total = (budgets.len() * config.seeds.len() * 2) as u64;
    let bar = progress.bar("comparing", total);
    let mut done = 0;
    let mut found = Vec::new();
    let quiet = progress.quieter();
    for budget in budgets {
        let mut scores: BTreeMap<Arm, Vec<Scores>> = BTreeMap::new();
        for seed in &config.seeds {
            for arm in [Arm::Pretrained, Arm::Scratch] {
                let one = arm_config(config, pretrained, arm, budget, *seed)?;
                if !is_done(Path::new(&one.output_dir)) {
                    finetune(&one, options, &quiet)?;
                }
                let results: FinetuneResults = read_json(Path::new(&one.output_dir), "results.json")?;
                done += 1;
                let f1 = results.test.f1;
                progress.note(format!("{}: test F1 {f1:.3}", run_name(arm, budget, *seed)));
                bar.advance_to(done, || format!("F1 {f1:.3}"));
                scores.entry(arm).or_default().push(results.test);
            }
            for (arm, test) in baselines(config, budget, *seed)? {
                scores.entry(arm).or_default().push(test);
            }
        }
        found.push(BudgetRuns { budget: budget_name(budget), scores });
    }
    Ok(found)
}

/// Both baselines on the same rows, threshold chosen on validation as for the arms.
fn baselines(config: &CompareConfig, budget: usize, seed: u64) -> Result<Vec<(Arm, Scores)>> {
    let mut data = config.finetune.data.clone();
    (data.label_budget, data.budget_seed) = (budget, seed);
    let folder = Path::new(&config.output_dir).join("baselines");
    std::fs::create_dir_all(&folder).map_err(|cause| Error::writing(&folder, &cause))?;
    let mut found = Vec::new();
    let mut split = None;
    for arm in [Arm::CharNgram, Arm::Majority] {
        let name = format!("{}.json", run_name(arm, budget, seed));
        if let Ok(stored) = read_json::<BaselineResults>(&folder, &name) {
            found.push((arm, stored.test));
            continue;
        }
        if split.is_none() {
            split = Some(LabelledSplit::load(&data)?);
        }
        let Some(split) = &split else { continue };
        let results = baseline(arm, split, seed)?;
        let json =
            serde_json::to_vec_pretty(&results).map_err(|cause| Error::data(format!("{name}: {cause}")))?;
        files::write_atomic(&folder.join(&name), &json)?;
        found.push((arm, results.test));
    }
    Ok(found)
}

fn baseline(arm: Arm, split: &LabelledSplit, seed: u64) -> Result<BaselineResults> {
    let num_labels = split.label_names.len();
    let pairs = |rows: &[crate::data::Example]| -> Vec<(String, u32)> {
        rows.iter().map(|row| (row.text.clone(), row.label)).collect()
    };
    let (train, validation, test) = (pairs(&split.train), pairs(&split.validation), pairs(&split.test));
    let texts = |rows: &[(String, u32)]| rows.iter().map(|row| row.0.clone()).collect::<Vec<_>>();
    let labels = |rows: &[(String, u32)]| rows.iter().map(|row| row.1).collect::<Vec<_>>();
    let (on_validation, on_test) = if arm == Arm::CharNgram {
        let model = CharNgram::fit(&train, &validation, num_labels, split.positive)?;
        (model.probabilities(&texts(&validation)), model.probabilities(&texts(&test)))
    } else {
        let model = Majority::fit(&labels(&train), num_labels);
        (model.probabilities(validation.len()), model.probabilities(test.len()))
    };
    let scores = |rows: &[(String, u32)], probabilities: &[Vec<f64>], threshold| {
        Scores::compute(
            &labels(rows),
            probabilities,
            &split.label_names,
            split.positive,
            threshold,
            Some(seed),
        )
    };
    let validation_scores = if arm == Arm::CharNgram {
        scores(&validation, &on_validation, Threshold::BestF1)?
    } else {
        // The commonest label is what it calls; a moved threshold would call everything positive.
        scores(&validation, &on_validation, Threshold::Fixed(0.5))?
    };
    let frozen = Threshold::Fixed(validation_scores.threshold.unwrap_or(0.5));
    Ok(BaselineResults { test: scores(&test, &on_test, frozen)?, validation: validation_scores })
}
