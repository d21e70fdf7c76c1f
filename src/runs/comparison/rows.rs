//! Which rows a comparison counts: its audit, and the texts that it leaves out of every run.

use std::collections::BTreeSet;
use std::path::Path;

use super::plan::{Place, data};
use crate::analysis::counted;
use crate::config::{AuditMode, CompareConfig};
use crate::data::{Example, LabelledConfig, LabelledSplit};
use crate::error::{Error, Result};
use crate::files;
use crate::metrics::power::{ASSUMED_CORRELATION, ASSUMED_SCORE, ASSUMED_SEED_STD, Planned};
use crate::progress::Progress;
use crate::results::AuditResults;
use crate::run_dir::RunDir;
use crate::runs::audit::{self, Known};
use crate::runs::fetch::Fetcher;

/// Below the comparison's directory: the texts that `drop` leaves out.
const LEFT_OUT: &str = "left_out.txt";

/// The rows of all budgets together, with folds as the first has them. What they are known by does not depend on who is in
/// which fold.
///
/// Errors: as reading the rows.
pub fn all(config: &CompareConfig) -> Result<LabelledSplit> {
    match config.folds {
        0 => LabelledSplit::load(&LabelledConfig { label_budget: 0, ..config.finetune.data.clone() }),
        _ => {
            let split = of_fold(config, first(config))?;
            Ok(LabelledSplit { sha256: tested(config)?.sha256, ..split })
        }
    }
}

fn first(config: &CompareConfig) -> Place {
    Place { seed: config.seeds[0], fold: 1 }
}

/// All rows of a cross-validation as test rows.
fn tested(config: &CompareConfig) -> Result<LabelledSplit> {
    let all = LabelledConfig { leave_out: String::new(), ..data(config, 0, first(config)) };
    LabelledSplit::load(&all)?.all_tested(&config.finetune.data.leave_out)
}

/// All rows as a fold has them.
///
/// Errors: as reading the rows, with the name of the fold.
pub fn of_fold(config: &CompareConfig, place: Place) -> Result<LabelledSplit> {
    LabelledSplit::load(&data(config, 0, place)).map_err(|cause| {
        let (Place { seed, fold }, folds) = (place, config.folds);
        let why = "near copies lie in one fold, so a label needs rows that are not";
        Error::new(
            cause.kind,
            format!("fold {fold} of {folds} with seed {seed}: {cause}; {why}, or fewer folds"),
        )
    })
}

/// Which differences so many rows and seeds can show, in words.
pub fn planned(config: &CompareConfig, split: &LabelledSplit) -> String {
    let is_positive = |row: &&Example| row.label as usize == split.positive;
    let parts = match config.folds {
        0 => vec![&split.test],
        _ => vec![&split.train, &split.validation, &split.test],
    };
    let rows = parts.iter().map(|part| part.len()).sum();
    let positives: usize = parts.iter().map(|part| part.iter().filter(is_positive).count()).sum();
    let (seeds, folds, budgets) = (config.seeds.len(), config.folds, config.budgets.len());
    let positives = split.positive_leads.then_some(positives);
    let detectable = Planned { positives, rows, seeds, folds, budgets }.detectable();
    let measured = positives.map_or(format!("{rows} test rows"), |positives| {
        format!("{positives} test rows of {}", split.label_names[split.positive])
    });
    let design = if folds > 0 {
        format!("{folds} folds of each of {}", counted(seeds, "seed"))
    } else {
        counted(seeds, "seed")
    };
    format!(
        "planning: with {measured} and {design} a difference of {detectable:.2} in F1 would be shown with a chance of 80 % \
         (assumed: F1 near {ASSUMED_SCORE}, errors that correlate by {ASSUMED_CORRELATION}, a standard deviation of \
         {ASSUMED_SEED_STD} from seed to seed)"
    )
}

/// Looks for rows that leak, before any training; `drop` names the texts to leave out. Whole training rows count, so
/// that all budgets are measured on the same rows. What was `stored` for the same rows and text
/// stands.
///
/// Errors: as reading the text; rows that leak, with `deny` (3).
pub fn audited(
    config: &CompareConfig,
    split: &LabelledSplit,
    stored: Option<AuditResults>,
    fetcher: &mut Fetcher<'_>,
    progress: &Progress,
) -> Result<(Option<AuditResults>, BTreeSet<String>)> {
    if config.audit == AuditMode::Off {
        return Ok((None, BTreeSet::new()));
    }
    let drop = config.audit == AuditMode::Drop;
    // Every row of a cross-validation is tested, and none of its near copies is trained on then.
    let tested = match config.folds {
        0 => None,
        _ => Some(tested(config)?),
    };
    let split = tested.as_ref().unwrap_or(split);
    let known = known_text(config, fetcher)?;
    let made_from = known.with(split, config.audit_threshold);
    let found = match stored.filter(|stored| stored.made_from == made_from) {
        Some(stored) => AuditResults { dropped: drop, ..stored },
        None => audit::of_split(split, known, config.audit, config.audit_threshold, progress)?,
    };
    audit::act(&found, config.audit, progress)?;
    let leaking = if drop { audit::leaking_texts(&found, split) } else { BTreeSet::new() };
    Ok((Some(found), leaking))
}

/// The text that the arms have seen before.
fn known_text(config: &CompareConfig, fetcher: &mut Fetcher<'_>) -> Result<Known> {
    let own = if config.pretrained.is_empty() { &config.pretrain.init_from } else { &config.pretrained };
    let mut known = Known::of(own, fetcher)?;
    if config.pretrained.is_empty() {
        known.corpora.insert(0, config.pretrain.data.clone());
    }
    for start in config.starts.values() {
        known.add(Known::of(&start.init_from, fetcher)?);
    }
    Ok(known)
}

/// The config of which every run leaves these texts out, beside those that it leaves out itself.
pub fn leave_out(config: &CompareConfig, mut texts: BTreeSet<String>, dir: &RunDir) -> Result<CompareConfig> {
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
