//! Audits for overlapping texts: the search of `data`, told in the words of the results, and what a run does
//! about it.
//!
//! A row leaks when it is measured or tuned on and was seen before: a test row with an exact or near duplicate in
//! training, validation or the text of the pre-training, and a validation row with one in training or that
//! text.

use std::collections::BTreeSet;
use std::path::Path;

use super::fetch::Fetcher;
use crate::analysis::audit_words;
use crate::config::{AuditMode, FinetuneConfig, PretrainConfig, SCRATCH};
use crate::data::{
    self, Audit, AuditPart, CORPUS, Closest, CorpusConfig, Example, Kind, LabelledSplit, Overlaps,
};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::progress::Progress;
use crate::results::{AuditResults, Overlap, OverlapExample};

/// Examples kept of each pair of parts.
const EXAMPLES: usize = 5;
/// Pre-trainings that may stand one behind the other; more is a circle.
const MAX_CHAIN: usize = 16;

/// Name of the part whose rows are measured on.
pub const TEST: &str = "test";
/// Name of the part whose rows are tuned on.
pub const VALIDATION: &str = "validation";

/// Searches the parts in themselves, in each other, and in the corpora.
///
/// Errors: as reading a corpus.
pub fn audit(
    parts: &[AuditPart<'_>],
    corpora: &[CorpusConfig],
    threshold: f64,
    progress: &Progress,
) -> Result<AuditResults> {
    let Audit { overlaps, documents } = data::audit(parts, corpora, threshold, progress)?;
    let mut results = AuditResults { threshold, ..AuditResults::default() };
    for part in parts {
        results.rows.insert(part.name.clone(), part.texts.len() as u64);
    }
    if !corpora.is_empty() {
        results.rows.insert(CORPUS.into(), documents);
    }
    for found in &overlaps {
        let part = parts.iter().find(|part| part.name == found.part);
        results.overlaps.extend(part.map(|part| overlap(found, part)));
    }
    results.test_rows = leaking(&overlaps, TEST);
    results.validation_rows = leaking(&overlaps, VALIDATION);
    Ok(results)
}

/// Rows of the part that stand in another one.
fn leaking(overlaps: &[Overlaps<'_>], part: &str) -> Vec<usize> {
    let of_part = overlaps.iter().filter(|found| found.part == part && found.with != part);
    let rows: BTreeSet<usize> = of_part.flat_map(|found| found.found.keys().copied()).collect();
    rows.into_iter().collect()
}

fn overlap(of: &Overlaps<'_>, part: &AuditPart<'_>) -> Overlap {
    let mut overlap = Overlap { part: of.part.clone(), with: of.with.clone(), ..Overlap::default() };
    for found in of.found.values() {
        *match found.kind {
            Kind::Exact => &mut overlap.exact,
            Kind::Normalised => &mut overlap.normalised,
            Kind::Masked => &mut overlap.masked,
            Kind::Near => &mut overlap.near,
        } += 1;
    }
    // What nobody would have noticed is shown first: an equal text needs no example.
    let mut closest: Vec<_> = of.found.iter().collect();
    closest.sort_by_key(|(_, found)| std::cmp::Reverse(found.kind));
    let example = |(&row, found): (&usize, &Closest<'_>)| OverlapExample {
        kind: found.kind.name().into(),
        row,
        text: part.texts[row].into(),
        other: found.text.to_string(),
        jaccard: found.jaccard,
    };
    overlap.examples = closest.into_iter().take(EXAMPLES).map(example).collect();
    overlap
}

/// Audits labelled rows before training.
///
/// Errors: as reading the corpora, unless `mode` only warns.
pub fn of_split(
    split: &LabelledSplit,
    known: Known,
    mode: AuditMode,
    threshold: f64,
    progress: &Progress,
) -> Result<AuditResults> {
    let made_from = known.with(split, threshold);
    let parts = [("train", &split.train), (VALIDATION, &split.validation), (TEST, &split.test)];
    let parts = parts.map(|(name, rows)| AuditPart::of(name, rows));
    let mut found = match (audit(&parts, &known.corpora, threshold, progress), mode) {
        (Err(cause), AuditMode::Warn) => {
            progress.warn(format!("the text of the pre-training is left out of the audit: {cause}"));
            AuditResults { unknown_text: true, ..audit(&parts, &[], threshold, progress)? }
        }
        (found, _) => AuditResults { unknown_text: known.unknown_text, ..found? },
    };
    found.dropped = mode == AuditMode::Drop;
    found.made_from = made_from;
    Ok(found)
}

/// Stops or warns.
///
/// Errors: rows that leak, with `deny` (3).
pub fn act(found: &AuditResults, mode: AuditMode, progress: &Progress) -> Result<()> {
    if mode == AuditMode::Deny {
        return deny(found, "remove them, or set audit = \"drop\" or \"warn\"");
    }
    if !(found.test_rows.is_empty() && found.validation_rows.is_empty()) {
        audit_words(found).into_iter().for_each(|words| progress.warn(words));
    }
    Ok(())
}

/// SHA-256 of the texts of all rows that leak.
pub fn leaking_texts(found: &AuditResults, split: &LabelledSplit) -> BTreeSet<String> {
    let of_part = |leaking: &[usize], rows: &[Example]| -> Vec<String> {
        let texts = leaking.iter().filter_map(|row| rows.get(*row));
        texts.map(|row| files::sha256(row.text.as_bytes())).collect()
    };
    let validation = of_part(&found.validation_rows, &split.validation);
    validation.into_iter().chain(of_part(&found.test_rows, &split.test)).collect()
}

/// What is known of the text that a model was pre-trained on.
#[derive(Debug, Default)]
pub struct Known {
    /// Where it stands, for every pre-training of the chain.
    pub corpora: Vec<CorpusConfig>,
    /// Some of it is not recorded: the model, or one it started from, comes from elsewhere.
    pub unknown_text: bool,
}

impl Known {
    /// SHA-256 over an audit of these rows against this text.
    pub fn with(&self, split: &LabelledSplit, threshold: f64) -> String {
        files::sha256(format!("{} {self:?} {threshold}", split.sha256).as_bytes())
    }

    /// The same with what another model has seen.
    pub fn add(&mut self, other: Self) {
        let new = other.corpora.into_iter().filter(|corpus| !self.corpora.contains(corpus));
        self.corpora.extend(new.collect::<Vec<_>>());
        self.unknown_text |= other.unknown_text;
    }

    /// Follows `init_from` from run to run.
    ///
    /// Errors: as fetching texts from the Hub.
    pub fn of(init_from: &str, fetcher: &mut Fetcher<'_>) -> Result<Self> {
        let mut known = Self::default();
        let mut next = init_from.to_string();
        for _ in 0..MAX_CHAIN {
            if next == SCRATCH {
                break;
            }
            let Some(text) = stored_config(Path::new(&next)) else {
                known.unknown_text = true;
                break;
            };
            if let Ok(run) = toml::from_str::<PretrainConfig>(&text) {
                known.corpora.push(fetcher.corpus(&run.data)?);
                next = run.init_from;
            } else if let Ok(run) = toml::from_str::<FinetuneConfig>(&text) {
                // Its labelled rows were read too, but labels and texts of them are not part of this record.
                known.unknown_text = true;
                next = run.init_from;
            } else {
                known.unknown_text = true;
                break;
            }
        }
        Ok(known)
    }
}

/// `config.toml` of a run, named by its directory or by the model folder in it.
fn stored_config(path: &Path) -> Option<String> {
    let places = [Some(path), path.parent().filter(|_| path.ends_with("model"))];
    places.into_iter().flatten().find_map(|folder| std::fs::read_to_string(folder.join("config.toml")).ok())
}

/// Errors: rows that leak (3).
pub fn deny(audit: &AuditResults, hint: &str) -> Result<()> {
    let leaking = |part: &str, rows: &[usize]| {
        let all = audit.rows.get(part).copied().unwrap_or(0);
        let of_part = audit.overlaps.iter().filter(|o| o.part == part && o.with != part && o.total() > 0);
        let places: Vec<String> = of_part.map(|o| format!("{} in {}", o.total(), o.with)).collect();
        let found = rows.len();
        (found > 0).then(|| {
            format!(
                "{found} of {all} {part} rows are exact or near duplicates of others ({})",
                places.join(", ")
            )
        })
    };
    let test = leaking(TEST, &audit.test_rows);
    let found: Vec<String> = test.into_iter().chain(leaking(VALIDATION, &audit.validation_rows)).collect();
    if found.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Gate, format!("audit failed: {}; {hint}", found.join(", "))))
}
