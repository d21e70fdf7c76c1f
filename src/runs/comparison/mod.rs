//! A comparison: pre-train once, then fine-tune from it and from scratch on every seed and label budget.

mod baselines;
mod combined;
mod fits;
mod plan;
mod rows;
mod search;
mod table;
mod transfer;

use std::path::Path;
use std::time::Instant;

use self::plan::{Plan, budget_name, budgets};
use self::table::Table;
use super::changes::{self, Change};
use super::fetch::Fetcher;
use super::finetune::warn_of_labels;
use super::pretrain::{self, pretrain};
use super::start::Start;
use super::{Context, lifecycle};
use crate::analysis::{self, ComparisonSpec};
use crate::config::{AuditMode, CompareConfig, Config, FinetuneConfig, SCRATCH};
use crate::device;
use crate::error::{Error, Result};
use crate::files;
use crate::hf_folder;
use crate::report;
use crate::results::{Arm, AuditResults, Comparison, Pretrained, RunFacts, StartName};
use crate::run_dir::{Existing, Manifest, RunDir, Status, read_json};

/// Keys that may change when a comparison goes on: more seeds, budgets or arms only add runs. The first may not
/// when it turns `drop` on or off, which changes the rows of every run.
const HARMLESS: [&str; 10] = [
    "audit",
    "device",
    "seeds",
    "budgets",
    "match_compute",
    "transfer_checkpoints",
    "pretrained",
    "starts",
    "starts.",
    "equivalence_margin",
];

/// Compares as the config says; afterwards the directory holds every run and the results.
///
/// Errors: as pre-training and fine-tuning; an audit that denies (3); everything finished so far stays,
/// `--resume` goes on from there.
pub fn compare(config: &CompareConfig, context: &Context) -> Result<Comparison> {
    config.check()?;
    let started = Instant::now();
    let mut fetcher = Fetcher::new(&context.progress);
    let config = &fetcher.compare(config)?;
    changes::lies_apart(Path::new(&config.output_dir), config)?;
    let dir = RunDir::open(Path::new(&config.output_dir), context.existing)?;
    if context.existing == Existing::Overwrite {
        changes::keeps_inputs(dir.path(), config)?;
    }
    let device = context.open_device(&config.device)?;
    let name = format!("{:?}", device.location()).to_lowercase();
    let mut manifest = Manifest::new("compare", config.seeds[0], &name, device::threads(), SCRATCH);
    let split = rows::all(config)?;
    warn_of_labels(&split, &context.progress);
    context.progress.note(rows::planned(config, &split));
    manifest.data_sha256.clone_from(&split.sha256);
    if !config.pretrained.is_empty() {
        manifest.start_sha256 = Start::open(&config.pretrained)?.sha256()?;
    }
    let stored = lifecycle::stored(&dir, context)?;
    let mut was_done = false;
    if let Some(stored) = &stored
        && files::exists(&dir.config())?
    {
        let is_same = check_unchanged(config, &dir, stored, &manifest, context)?;
        was_done = is_same && stored.status == Status::Done;
    }
    if context.existing == Existing::Resume {
        check_pretraining(config, context)?;
    }
    fits::check(config, &split)?;
    let known = stored.as_ref().and_then(|_| read_json(dir.path(), "audit.json").ok());
    let (audit, leaking) = rows::audited(config, &split, known, &mut fetcher, &context.progress)?;
    manifest.hub_commits = fetcher.commits;
    let before = stored.and_then(|stored| stored.wall_secs).unwrap_or(0.0);
    manifest.wall_secs = Some(before);
    let mut running = lifecycle::begin(&dir, config, manifest, context)?;
    if was_done {
        running.was_done();
    }
    if let Some(audit) = &audit {
        dir.write_json("audit.json", audit)?;
    }
    let config = &rows::leave_out(config, leaking, &dir)?;
    let wall_secs = || before + started.elapsed().as_secs_f64();
    let run = all_runs(config, &dir, audit, &wall_secs, &mut || running.spent(wall_secs()), context);
    let run = run.inspect_err(|error| running.stopped_by(error))?;
    report::publish(dir.path(), &run.results, &report::compared(&run))?;
    running.done()?;
    Ok(Comparison { facts: RunFacts::read(dir.path()), ..run })
}

/// Whether the comparison that is there is the one that is asked for, without more seeds, budgets or arms.
///
/// Errors: a key that changes the runs which are there already, another kind of run (2); other data, another model to
/// start from, another program (65).
fn check_unchanged(
    config: &CompareConfig,
    dir: &RunDir,
    stored: &Manifest,
    now: &Manifest,
    context: &Context,
) -> Result<bool> {
    lifecycle::check_phase(dir, "compare", Some(stored))?;
    let (then, here) = (stored.program(), now.program());
    if then != here {
        let why = format!("cannot resume {}: it was begun by {then}, this is {here}", dir.path().display());
        let hint = "go on with that program, or start anew with --overwrite";
        let shown = format!("; `train report {}` shows a finished one", dir.path().display());
        let shown = if stored.status == Status::Done { shown.as_str() } else { "" };
        return Err(Error::data(format!("{why}; {hint}{shown}")));
    }
    let drops = |mode| mode == AuditMode::Drop;
    let dropped = toml::from_str::<CompareConfig>(&files::read_text(&dir.config())?)
        .is_ok_and(|stored| drops(stored.audit));
    let harmless = if dropped == drops(config.audit) { &HARMLESS[..] } else { &HARMLESS[1..] };
    let changes = changes::harmless_changes(&dir.config(), config, harmless)?;
    changes.iter().for_each(|change| context.progress.note(format!("resuming with {change}")));
    let [then, now] = [stored, now].map(lifecycle::fingerprints_of);
    lifecycle::check_same(dir.path(), "comparison", &then, &now, context)?;
    Ok(changes.iter().all(Change::names_place))
}

/// Pre-trains, fine-tunes every cell, fits the baselines, and tells what they show together. `ended` hears of every run
/// that is done.
fn all_runs(
    config: &CompareConfig,
    dir: &RunDir,
    audit: Option<AuditResults>,
    wall_secs: &dyn Fn() -> f64,
    ended: &mut dyn FnMut() -> Result<()>,
    context: &Context,
) -> Result<Comparison> {
    let (pretrained, before) = pretraining(config, context)?;
    ended()?;
    let folder = hf_folder::locate(Path::new(&pretrained))?;
    let model = hf_folder::read_config(&folder)?.config;
    let tokenizer = folder.display().to_string();
    let pretraining_tokens = before.as_ref().map_or(0, |run| run.results.tokens);
    let plan = Plan { config, pretrained: &pretrained, pretraining_tokens, tokenizer, model };
    let table = Table::run(&plan, ended, context)?;
    let transfer = table.transfer()?;
    let cells = table.cells;
    let budgets: Vec<String> = budgets(config).into_iter().map(budget_name).collect();
    let recorded = |(name, start): (&String, &FinetuneConfig)| {
        let run = Pretrained::load(Path::new(&start.init_from)).ok()?;
        Some((Arm::Start(StartName::new(name)?), run.results))
    };
    let of_starts = config.starts.iter().filter_map(recorded);
    let own = before.iter().map(|run| (Arm::Pretrained, run.results.clone()));
    let pretrainings = own.chain(of_starts).collect();
    let spec = ComparisonSpec {
        seeds: &config.seeds,
        folds: config.folds,
        margin: config.equivalence_margin,
        budgets: &budgets,
        pretrainings: &pretrainings,
        settings_tried: plan::settings(config).len(),
        lora: config.finetune.lora.is_some(),
        open_settings: std::iter::once(&config.finetune)
            .chain(config.starts.values())
            .any(|arm| arm.train.is_endless() || arm.optim.learning_rate == 0.0),
        head_first: plan::always_head_first(config),
        transfer,
        audit,
        wall_secs: wall_secs(),
    };
    let results = analysis::compare(&spec, &cells)?;
    let pretrained = before.filter(|_| config.pretrained.is_empty());
    Ok(Comparison { dir: dir.path().into(), facts: RunFacts::read(dir.path()), results, pretrained, cells })
}

/// Where the pre-trained arm starts, and the run that made it; a model from elsewhere has no record of what it cost.
///
/// Errors: no record of the tokens that `match_compute` asks for (66).
fn pretraining(config: &CompareConfig, context: &Context) -> Result<(String, Option<Pretrained>)> {
    if config.pretrained.is_empty() {
        if context.existing != Existing::Resume {
            // It can be there where the run that gave way was no comparison.
            check_pretraining(config, context)?;
        }
        let own = plan::pretraining(config);
        let run = pretrain(&own, &Context { existing: Existing::Resume, ..context.clone() })?;
        return Ok((own.output_dir, Some(run)));
    }
    let given = Pretrained::load(Path::new(&config.pretrained));
    let given = if config.match_compute { Some(given?) } else { given.ok() };
    Ok((config.pretrained.clone(), given))
}

/// Errors: a pre-training is there that was made from something else than this comparison asks or by another program (65).
fn check_pretraining(config: &CompareConfig, context: &Context) -> Result<()> {
    if !config.pretrained.is_empty() {
        return Ok(());
    }
    let own = &plan::pretraining(config);
    let folder = Path::new(&own.output_dir);
    for name in ["run.json", "config.toml"] {
        if !files::exists(&folder.join(name))? {
            return Ok(());
        }
    }
    let stored: Manifest = read_json(folder, "run.json")?;
    if !changes::is_of(folder, &stored, own)? {
        let why = format!("{} was made with other settings or by another program", folder.display());
        return Err(Error::data(format!("{why}; move it away and go on with --resume")));
    }
    if stored.status == Status::Done {
        let (then, now) = (lifecycle::fingerprints_of(&stored), pretrain::origin(own)?);
        lifecycle::check_same(folder, "pre-training", &then, &now, context)?;
    }
    Ok(())
}
