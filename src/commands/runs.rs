//! `train pretrain`, `finetune`, `compare`, and `report` for those that are finished.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::gates;
use super::print::{print, print_json};
use crate::cli::{CompareArgs, FinetuneArgs, RunArgs};
use crate::config::{self, CompareConfig, Config, FinetuneConfig, Flag, PretrainConfig, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::progress::Progress;
use crate::report::{self, Document, Style};
use crate::run_dir::{Existing, Manifest, read_json, unfinished, would_clear};
use crate::runs::{self, Context};

/// What `train compare` does when it is not told otherwise.
const DEMONSTRATION: &str = include_str!("../../configs/demo-compare.toml");

/// Pre-trains and prints the report.
pub fn pretrain(args: &RunArgs, json: bool, progress: &Progress) -> Result<()> {
    let config: PretrainConfig = load(args, None, None)?;
    keeps_config(args, &config.output_dir)?;
    let run = runs::pretrain(&config, &context(args, progress))?;
    show(&run.dir, &run.results, &report::pretrained(&run), json, progress)
}

/// Fine-tunes, prints the report and checks the gates.
pub fn finetune(args: &FinetuneArgs, json: bool, progress: &Progress) -> Result<()> {
    let gates = gates::parse(&args.fail_under)?;
    let init_from = args.init_from.as_deref().map(|place| Flag::new("--init-from", "init_from", place));
    let config: FinetuneConfig = load(&args.run, init_from, None)?;
    keeps_config(&args.run, &config.output_dir)?;
    let run = runs::finetune(&config, &context(&args.run, progress))?;
    show(&run.dir, &run.results, &report::finetuned(&run), json, progress)?;
    gates::check(&gates, &run.results.scores.test)
}

/// Compares and prints the report; without a config, the demonstration.
pub fn compare(args: &CompareArgs, json: bool, progress: &Progress) -> Result<()> {
    let folds = args.folds.map(|folds| Flag::new("--folds", "folds", i64::from(folds)));
    let config: CompareConfig = load(&args.run, folds, Some(DEMONSTRATION))?;
    keeps_config(&args.run, &config.output_dir)?;
    let run = runs::compare(&config, &context(&args.run, progress))?;
    show(&run.dir, &run.results, &report::compared(&run), json, progress)
}

/// Prints tables and writes report.html again, from what the runs stored.
pub fn report(paths: &[PathBuf], json: bool, progress: &Progress) -> Result<()> {
    paths.iter().try_for_each(|path| {
        let results = stored_results(path, progress)?;
        let warn = |cause| progress.warn(format!("no report.html: {cause}"));
        match report::read(path) {
            Ok(document) => {
                // A run in a folder that cannot be written still has its tables.
                report::write_html(path, &document).unwrap_or_else(warn);
                show(path, &results, &document, json, progress)
            }
            // So has one without its predictions.
            Err(cause) if cause.kind == ErrorKind::MissingInput => {
                warn(cause);
                if json { print_json(&results) } else { print(&files::read_text(&path.join("report.md"))?) }
            }
            Err(cause) => Err(cause),
        }
    })
}

/// `results.json`. While a run goes on it is of an earlier end, or not there.
///
/// Errors: a run that has not finished (65), no run (66), damaged (65).
fn stored_results(path: &Path, progress: &Progress) -> Result<serde_json::Value> {
    let results = read_json(path, "results.json");
    let manifest: Option<Manifest> = read_json(path, "run.json").ok();
    match (manifest.and_then(|manifest| unfinished(path, &manifest)), &results) {
        (Some(why), Err(cause)) if cause.kind == ErrorKind::MissingInput => Err(Error::data(why)),
        (Some(why), Ok(_)) => {
            progress.warn(format!("{why}; these are its results of before"));
            results
        }
        _ => results,
    }
}

/// Errors: `--overwrite` would clear the config it was given (73).
fn keeps_config(args: &RunArgs, output_dir: &str) -> Result<()> {
    match &args.config {
        Some(config) if args.overwrite && would_clear(output_dir.as_ref(), config)? => {
            let why = format!(
                "--config {} lies in output_dir {output_dir}, which --overwrite clears",
                config.display()
            );
            Err(Error::new(ErrorKind::Output, format!("{why}; copy it elsewhere first")))
        }
        _ => Ok(()),
    }
}

/// Prints the report of a finished run, or its results as one JSON object.
fn show(
    dir: &Path,
    results: &impl Serialize,
    document: &Document,
    json: bool,
    progress: &Progress,
) -> Result<()> {
    if json {
        return print_json(results);
    }
    progress.note(format!("run directory: {}", dir.display()));
    print(&document.text(Style::Terminal))
}

/// The config that the flags name, or else the built-in one of the command, with `flag` among the changes.
fn load<C: Config>(args: &RunArgs, flag: Option<Flag>, built_in: Option<&str>) -> Result<C> {
    let source = match (&args.config, built_in) {
        (Some(path), _) => Source::File(path),
        (None, Some(text)) => Source::Text("built-in demonstration", text),
        (None, None) => return Err(Error::usage("no config: give --config FILE; configs/ has examples")),
    };
    let device = args.device.iter().map(|device| Flag::new("--device", "device", device.as_str()));
    config::load(source, &args.sets, &device.chain(flag).collect::<Vec<_>>())
}

fn context(args: &RunArgs, progress: &Progress) -> Context {
    let existing = match (args.resume, args.overwrite) {
        (true, _) => Existing::Resume,
        (_, true) => Existing::Overwrite,
        _ => Existing::Refuse,
    };
    let allow_data_change = args.allow_data_change;
    Context { progress: progress.clone(), existing, allow_data_change, ..Context::default() }
}
