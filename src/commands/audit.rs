//! Audits for overlapping texts: the search of `data`, told in the words of the results.

use crate::data::{self, AuditPart, CORPUS, CorpusConfig, Kind, Overlaps};
use crate::error::{Error, Exit, Result};
use crate::progress::Progress;
use crate::report::{AuditResults, Overlap, OverlapExample};

/// Examples kept of each pair of parts.
const EXAMPLES: usize = 5;

/// Name of the part whose rows are measured on.
pub const TEST: &str = "test";

/// Searches the parts in themselves, in each other, and in the corpus.
///
/// Errors: as reading the corpus.
pub fn audit(
    parts: &[AuditPart],
    corpus: Option<&CorpusConfig>,
    threshold: f64,
    progress: &Progress,
) -> Result<AuditResults> {
    let (overlaps, documents) = data::audit(parts, corpus, threshold, progress)?;
    let mut results = AuditResults { threshold, ..AuditResults::default() };
    for part in parts {
        results.rows.insert(part.name.clone(), part.texts.len() as u64);
    }
    if corpus.is_some() {
        results.rows.insert(CORPUS.into(), documents);
    }
    for found in &overlaps {
        let part = parts.iter().find(|part| part.name == found.part);
        results.overlaps.extend(part.map(|part| overlap(found, part)));
        if found.part == TEST && found.with != TEST {
            let rows = found.found.iter().enumerate();
            results.test_rows.extend(rows.filter(|(_, found)| found.is_some()).map(|(row, _)| row));
        }
    }
    results.test_rows.sort_unstable();
    results.test_rows.dedup();
    Ok(results)
}

fn overlap(of: &Overlaps, part: &AuditPart) -> Overlap {
    let mut overlap = Overlap { part: of.part.clone(), with: of.with.clone(), ..Overlap::default() };
    let mut examples: Vec<(Kind, OverlapExample)> = Vec::new();
    for (row, found) in of.found.iter().enumerate() {
        let Some((found, other)) = found else { continue };
        let (kind, count) = match found.kind {
            Kind::Exact => ("exact", &mut overlap.exact),
            Kind::Normalised => ("normalised", &mut overlap.normalised),
            Kind::Masked => ("masked", &mut overlap.masked),
            Kind::Near => ("near", &mut overlap.near),
        };
        *count += 1;
        let (kind, text, other) = (kind.to_string(), part.texts[row].clone(), other.clone());
        let example = OverlapExample { kind, row, text, other, jaccard: found.jaccard };
        examples.push((found.kind, example));
    }
    // What nobody would have noticed is shown first: an equal text needs no example.
    examples.sort_by_key(|(kind, _)| std::cmp::Reverse(*kind));
    overlap.examples = examples.into_iter().map(|(_, example)| example).take(EXAMPLES).collect();
    overlap
}

/// Errors: test rows stand in another part (3).
pub fn deny(audit: &AuditResults, hint: &str) -> Result<()> {
    if audit.test_rows.is_empty() {
        return Ok(());
    }
    let (found, rows) = (audit.test_rows.len(), audit.rows.get(TEST).copied().unwrap_or(0));
    let places: Vec<String> = audit
        .overlaps
        .iter()
        .filter(|overlap| overlap.part == TEST && overlap.with != TEST && overlap.total() > 0)
        .map(|overlap| format!("{} in {}", overlap.total(), overlap.with))
        .collect();
    let why = format!("{found} of {rows} test rows stand, exactly or nearly, in another part");
    Err(Error::new(Exit::Gate, format!("audit failed: {why} ({}); {hint}", places.join(", "))))
}
