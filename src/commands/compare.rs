//! `train compare`: pre-train once, then fine-tune from it and from scratch on every seed and label budget.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::baselines::baseline;
use super::fetch::Fetcher;
use super::finetune::finetune;
use super::pretrain::pretrain;
use super::{Options, audit, lifecycle, print_run, search, transfer};
use crate::config::{AuditMode, CompareConfig, FinetuneConfig, PretrainConfig, SCRATCH};
use crate::data::{AuditPart, CorpusConfig, Example, LabelledSplit};
use crate::error::Result;
use crate::files;
use crate::hf_folder;
use crate::progress::Progress;
use crate::report::{
    self, Arm, AuditResults, CompareResults, FinetuneResults, Outline, PretrainResults, Style, cell_folder,
    compare_report,
};
use crate::run_dir::{Existing, Manifest, RunDir, Status, is_done, read_json};

/// Keys that may change when a comparison goes on: more seeds, budgets or arms only add runs.
const HARMLESS: [&str; 6] = ["device", "seeds", "budgets", "audit", "match_compute", "transfer_checkpoints"];

/// Runs the command and prints its report.
///
/// Errors: as pre-training and fine-tuning; an audit that denies (3); everything finished so far stays,
/// `--resume` goes on from there.
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
    let before = read_json::<CompareResults>(dir.path(), "results.json").map_or(0.0, |r| r.wall_secs);
    dir.write_manifest(&manifest)?;

    let audit = audited(config, &dir, progress)?;
    let inner = Options { existing: Existing::Resume, ..options.clone() };
    let pretrained = match config.pretrained.as_str() {
        "" => {
            let pretraining = pretraining(config);
            pretrain(&pretraining, &inner, progress)?;
            pretraining.output_dir
        }
        given => given.to_string(),
    };
    all_runs(config, &pretrained, &inner, progress)?;
    let transfer = transfer::points(config, &pretrained, &inner, progress)?;
    let results = report::compare(&Outline {
        path: dir.path(),
        seeds: &config.seeds,
        budgets: &budgets(config).into_iter().map(budget_name).collect::<Vec<_>>(),
        arms: &[arms(config), Arm::BASELINES.to_vec()].concat(),
        pretrained: Path::new(&pretrained),
        settings_tried: search::settings(config).len(),
        lora: config.finetune.lora.is_some(),
        drop_overlaps: config.audit == AuditMode::Drop,
        transfer,
        audit,
        wall_secs: before + started.elapsed().as_secs_f64(),
    })?;
    dir.write_json("results.json", &results)?;
    files::write_atomic(&dir.path().join("report.md"), compare_report(&results, Style::Markdown).as_bytes())?;
    report::write_html(dir.path())?;
    manifest.status = Status::Done;
    dir.write_manifest(&manifest)?;
    print_run(dir.path(), options.json, progress)
}

/// The pre-training inside the comparison's directory.
fn pretraining(config: &CompareConfig) -> PretrainConfig {
    let mut pretraining = config.pretrain.clone();
    pretraining.output_dir = format!("{}/pretrain", config.output_dir);
    pretraining.device.clone_from(&config.device);
    if config.transfer_checkpoints > 0 {
        pretraining.train.keep_checkpoints = 0;
    }
    pretraining
}

/// Looks for test rows in training, validation and corpus, before any training.
fn audited(config: &CompareConfig, dir: &RunDir, progress: &Progress) -> Result<Option<AuditResults>> {
    if config.audit == AuditMode::Off {
        return Ok(None);
    }
    let found = match read_json::<AuditResults>(dir.path(), "audit.json") {
        Ok(found) => found,
        Err(_) => {
            let split = LabelledSplit::load(&config.finetune.data)?;
            let part = |name: &str, rows: &[Example]| AuditPart {
                name: name.into(),
                texts: rows.iter().map(|row| row.text.clone()).collect(),
            };
            let parts = [
                part("train", &split.train),
                part("validation", &split.validation),
                part(audit::TEST, &split.test),
            ];
            let corpus = corpus(config)?;
            let found = audit::audit(&parts, corpus.as_ref(), config.audit_threshold, progress)?;
            dir.write_json("audit.json", &found)?;
            found
        }
    };
    if config.audit == AuditMode::Deny {
        audit::deny(&found, "remove them, or set audit = \"drop\" or \"warn\"")?;
    }
    if !found.test_rows.is_empty() {
        let (count, rows) = (found.test_rows.len(), found.rows.get(audit::TEST).copied().unwrap_or(0));
        let what = match config.audit {
            AuditMode::Drop => "they are left out of every score",
            _ => "scores without them stand beside",
        };
        progress.warn(format!("{count} of {rows} test rows stand, exactly or nearly, elsewhere; {what}"));
    }
    Ok(Some(found))
}

/// The text of the pre-training; a model from elsewhere may have no record of it.
fn corpus(config: &CompareConfig) -> Result<Option<CorpusConfig>> {
    if config.pretrained.is_empty() {
        return Ok(Some(config.pretrain.data.clone()));
    }
    let stored = Path::new(&config.pretrained).join("config.toml");
    if !stored.exists() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&files::read(&stored)?).into_owned();
    Ok(toml::from_str::<PretrainConfig>(&text).ok().map(|config| config.data))
}

/// The config of one fine-tuning. The arms of one seed and budget differ in `init_from` alone, in where they
/// are stored, and in what a search chose for each.
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
    one.output_dir = cell(config, arm, budget, seed).display().to_string();
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

fn cell(config: &CompareConfig, arm: Arm, budget: usize, seed: u64) -> PathBuf {
    Path::new(&config.output_dir).join(cell_folder(arm, &budget_name(budget), seed))
}

/// `all` or the number.
pub fn budget_name(budget: usize) -> String {
    if budget == 0 { "all".into() } else { budget.to_string() }
}

/// Label budgets by rising number of labels.
pub fn budgets(config: &CompareConfig) -> Vec<usize> {
    let mut budgets = config.budgets.clone();
    budgets.sort_by_key(|budget| if *budget == 0 { usize::MAX } else { *budget });
    budgets
}

fn arms(config: &CompareConfig) -> Vec<Arm> {
    let mut arms = vec![Arm::Pretrained, Arm::Scratch];
    if config.match_compute {
        arms.push(Arm::ScratchMatched);
    }
    arms
}

/// Every budget in rising order, every seed, all arms and baselines; what is done stays as it is.
fn all_runs(config: &CompareConfig, pretrained: &str, options: &Options, progress: &Progress) -> Result<()> {
    let (arms, budgets) = (arms(config), budgets(config));
    let bar = progress.bar("comparing", (budgets.len() * config.seeds.len() * arms.len()) as u64);
    let mut done = 0;
    let quiet = progress.quieter();
    for budget in budgets {
        for &seed in &config.seeds {
            for &arm in &arms {
                let mut one = arm_config(config, pretrained, arm, budget, seed)?;
                search::choose(config, pretrained, arm, budget, options, &quiet)?.apply(&mut one);
                if arm == Arm::ScratchMatched {
                    match_compute(&mut one, &cell(config, Arm::Scratch, budget, seed), pretrained)?;
                }
                if !is_done(Path::new(&one.output_dir)) {
                    finetune(&one, options, &quiet)?;
                }
                let results: FinetuneResults = read_json(Path::new(&one.output_dir), "results.json")?;
                done += 1;
                let f1 = results.test.f1;
                let budget = budget_name(budget);
                progress.note(format!("{} {budget} seed {seed}: test F1 {f1:.3}", arm.key()));
                bar.advance_to(done, || format!("F1 {f1:.3}"));
            }
            baselines(config, budget, seed)?;
        }
    }
    Ok(())
}

/// The tokens of the plain arm from scratch and those of pre-training as the only limit.
///
/// Errors: a pre-training that left no record of its tokens (66).
fn match_compute(one: &mut FinetuneConfig, scratch: &Path, pretrained: &str) -> Result<()> {
    let before: PretrainResults = read_json(Path::new(pretrained), "results.json")?;
    let plain: FinetuneResults = read_json(scratch, "results.json")?;
    one.train.max_tokens = before.tokens + plain.tokens;
    (one.train.max_steps, one.train.max_epochs, one.train.max_minutes) = (0, 0.0, 0.0);
    Ok(())
}

/// The baselines on the same rows, setting and threshold chosen on validation as for the arms.
fn baselines(config: &CompareConfig, budget: usize, seed: u64) -> Result<()> {
    let mut data = config.finetune.data.clone();
    (data.label_budget, data.budget_seed) = (budget, seed);
    let folders = Arm::BASELINES.map(|arm| (arm, cell(config, arm, budget, seed)));
    let missing: Vec<_> =
        folders.iter().filter(|(_, folder)| !folder.join("results.json").exists()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let split = LabelledSplit::load(&data)?;
    missing.into_iter().try_for_each(|(arm, folder)| baseline(*arm, &split, seed, folder))
}
