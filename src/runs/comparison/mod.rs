//! A comparison: pre-train once, then fine-tune from it and from scratch on every seed and label budget.

mod baselines;
mod search;
mod transfer;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use self::baselines::baseline;
use super::audit::{self, Known};
use super::fetch::Fetcher;
use super::finetune::finetune;
use super::pretrain::pretrain;
use super::{Context, lifecycle};
use crate::analysis::{self, ComparisonSpec};
use crate::config::{AuditMode, CompareConfig, Config, FinetuneConfig, PretrainConfig, SCRATCH};
use crate::data::{LabelledConfig, LabelledSplit};
use crate::error::Result;
use crate::files;
use crate::hf_folder;
use crate::progress::Progress;
use crate::report;
pub use crate::results::Comparison;
use crate::results::{
    Arm, AuditResults, Cells, CompareResults, FinetuneResults, PretrainResults, Pretrained, RunFacts,
    cell_folder,
};
use crate::run_dir::{Existing, Manifest, RunDir, copy_run, is_done, read_json};

/// Keys that may change when a comparison goes on: more seeds, budgets or arms only add runs. The first may not
/// when it turns `drop` on or off, which changes the rows of every run.
const HARMLESS: [&str; 6] = ["audit", "device", "seeds", "budgets", "match_compute", "transfer_checkpoints"];
/// Below the comparison's directory: the texts that `drop` leaves out.
const LEFT_OUT: &str = "left_out.txt";

/// Compares as the config says; afterwards the directory holds every run and the results.
///
/// Errors: as pre-training and fine-tuning; an audit that denies (3); everything finished so far stays,
/// `--resume` goes on from there.
pub fn compare(config: &CompareConfig, context: &Context) -> Result<Comparison> {
    config.check()?;
    let progress = &context.progress;
    let started = Instant::now();
    let mut fetcher = Fetcher::new(progress);
    let config = &fetcher.compare(config)?;
    let dir = RunDir::open(Path::new(&config.output_dir), context.existing)?;
    if context.existing == Existing::Resume && dir.config().exists() {
        let stored = files::read_text(&dir.config())?;
        let drops = |mode| mode == AuditMode::Drop;
        let dropped = toml::from_str::<CompareConfig>(&stored).is_ok_and(|stored| drops(stored.audit));
        let harmless = if dropped == drops(config.audit) { &HARMLESS[..] } else { &HARMLESS[1..] };
        lifecycle::check_unchanged(&dir.config(), config, harmless, progress)?;
    }
    let device = context.open_device(&config.device)?;
    let name = format!("{:?}", device.location()).to_lowercase();
    let mut manifest = Manifest::new("compare", config.seeds[0], &name, crate::device::threads(), SCRATCH);
    let stored = (context.existing == Existing::Resume).then(|| read_json(dir.path(), "audit.json").ok());
    let (audit, leaking) = audited(config, stored.flatten(), &mut fetcher, progress)?;
    manifest.hub_commits = fetcher.commits;
    let running = lifecycle::begin(&dir, config, manifest, context)?;
    if let Some(audit) = &audit {
        dir.write_json("audit.json", audit)?;
    }
    let config = &leave_out(config, leaking, &dir)?;
    let before = read_json::<CompareResults>(dir.path(), "results.json").map_or(0.0, |r| r.wall_secs);

    let inner = context.inner();
    let pretrained = match config.pretrained.as_str() {
        "" => {
            let pretraining = pretraining(config);
            pretrain(&pretraining, &Context { progress: progress.clone(), ..inner.clone() })?;
            pretraining.output_dir
        }
        given => given.to_string(),
    };
    all_runs(config, &pretrained, &inner, progress)?;
    let transfer = transfer::points(config, &pretrained, &inner)?;
    let budgets: Vec<String> = budgets(config).into_iter().map(budget_name).collect();
    let arms = [arms(config), Arm::BASELINES.to_vec()].concat();
    let cells = Cells::read(dir.path(), &arms, &budgets, &config.seeds)?;
    // A model from elsewhere has no record of what it cost.
    let before_it = Pretrained::load(Path::new(&pretrained)).ok();
    let spec = ComparisonSpec {
        seeds: &config.seeds,
        budgets: &budgets,
        pretraining: before_it.as_ref().map(|run| &run.results),
        settings_tried: search::settings(config).len(),
        lora: config.finetune.lora.is_some(),
        head_first: search::always_head_first(config),
        transfer,
        audit,
        wall_secs: before + started.elapsed().as_secs_f64(),
    };
    let results = analysis::compare(&spec, &cells)?;
    let pretrained = before_it.filter(|_| config.pretrained.is_empty());
    let facts = RunFacts::read(dir.path());
    let run = Comparison { dir: dir.path().into(), facts, results, pretrained, cells };
    report::publish(dir.path(), &run.results, &report::compared(&run))?;
    running.done()?;
    Ok(Comparison { facts: RunFacts::read(dir.path()), ..run })
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

/// Looks for rows that leak, before any training; `drop` names the texts to leave out. Whole training rows count, so
/// that all budgets are measured on the same rows. What was `stored` for the same rows stands.
///
/// Errors: as reading the rows and the text; rows that leak, with `deny` (3).
fn audited(
    config: &CompareConfig,
    stored: Option<AuditResults>,
    fetcher: &mut Fetcher<'_>,
    progress: &Progress,
) -> Result<(Option<AuditResults>, BTreeSet<String>)> {
    let split = LabelledSplit::load(&LabelledConfig { label_budget: 0, ..config.finetune.data.clone() })?;
    if config.audit == AuditMode::Off {
        return Ok((None, BTreeSet::new()));
    }
    let drop = config.audit == AuditMode::Drop;
    let found = match stored.filter(|stored| stored.data_sha256 == split.sha256) {
        Some(stored) => AuditResults { dropped: drop, ..stored },
        None => {
            let how = (config.audit, config.audit_threshold);
            audit::of_split(&split, known_text(config, fetcher)?, how, progress)?
        }
    };
    audit::act(&found, config.audit, progress)?;
    let leaking = if drop { audit::leaking_texts(&found, &split) } else { BTreeSet::new() };
    Ok((Some(found), leaking))
}

/// The config of which every run leaves these texts out, beside those that it leaves out itself.
fn leave_out(config: &CompareConfig, mut texts: BTreeSet<String>, dir: &RunDir) -> Result<CompareConfig> {
    let mut config = config.clone();
    if texts.is_empty() {
        return Ok(config);
    }
    let data = &mut config.finetune.data;
    if !data.leave_out.is_empty() {
        let own = files::read_text(Path::new(&data.leave_out))?;
        texts.extend(own.lines().map(str::to_string));
    }
    let path = dir.path().join(LEFT_OUT);
    files::write_atomic(&path, texts.iter().map(|text| format!("{text}\n")).collect::<String>().as_bytes())?;
    data.leave_out = path.display().to_string();
    Ok(config)
}

/// The text that the pre-trained arm has seen.
fn known_text(config: &CompareConfig, fetcher: &mut Fetcher<'_>) -> Result<Known> {
    if !config.pretrained.is_empty() {
        return Known::of(&config.pretrained, fetcher);
    }
    let mut known = Known::of(&config.pretrain.init_from, fetcher)?;
    known.corpora.insert(0, config.pretrain.data.clone());
    Ok(known)
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
    // Once for all runs, before the first.
    one.audit = AuditMode::Off;
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
fn all_runs(config: &CompareConfig, pretrained: &str, context: &Context, progress: &Progress) -> Result<()> {
    let (arms, budgets) = (arms(config), budgets(config));
    let bar = progress.bar("comparing", (budgets.len() * config.seeds.len() * arms.len()) as u64);
    let mut done = 0;
    for budget in budgets {
        for &seed in &config.seeds {
            for &arm in &arms {
                let mut one = arm_config(config, pretrained, arm, budget, seed)?;
                let choice = search::choose(config, pretrained, arm, budget, context)?;
                choice.setting.apply(&mut one);
                if arm == Arm::ScratchMatched {
                    match_compute(&mut one, &cell(config, Arm::Scratch, budget, seed), pretrained)?;
                }
                let folder = Path::new(&one.output_dir);
                if !is_done(folder) {
                    match choice.run_of(seed) {
                        Some(run) => copy_run(run, folder, &crate::config::to_toml(&one)?)?,
                        None => drop(finetune(&one, context)?),
                    }
                }
                let results: FinetuneResults = read_json(folder, "results.json")?;
                done += 1;
                let f1 = results.scores.test.f1;
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
    one.train.max_tokens = before.tokens + plain.training.tokens;
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
