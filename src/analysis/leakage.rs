//! What an audit means for the scores: which test rows are clean, and what to say.

use std::path::Path;

use crate::error::Result;
use crate::metrics::{Scores, Threshold, Verdict};
use crate::results::{AuditResults, FinetuneResults, Predictions};

/// Test rows that stand nowhere else, of `rows`; None where they are all or none, or the others are left out
/// already.
pub fn clean_rows(audit: Option<&AuditResults>, rows: usize) -> Option<Vec<usize>> {
    let audit = audit.filter(|audit| !audit.dropped && !audit.test_rows.is_empty())?;
    let clean: Vec<usize> = (0..rows).filter(|row| !audit.test_rows.contains(row)).collect();
    (!clean.is_empty()).then_some(clean)
}

/// Scores of some of the rows that a run answered, at its positive label and threshold.
pub fn scores_of(
    said: &Predictions,
    kept: &[usize],
    as_in: (&str, Option<f64>),
    seed: u64,
) -> Result<Scores> {
    let (positive, threshold) = (said.label(as_in.0), Threshold::Fixed(as_in.1.unwrap_or(0.5)));
    let kept = said.only(kept);
    Scores::compute(&kept.labels, &kept.probabilities, &kept.label_names, positive, threshold, Some(seed))
}

/// Puts the audit into the results of the run at `path`: scores of the clean rows, findings, and a verdict that
/// those rows alone must bear out.
///
/// Errors: as reading its predictions.
pub fn add_audit(path: &Path, audit: AuditResults, results: &mut FinetuneResults) -> Result<()> {
    let said = Predictions::read(&path.join("predictions.jsonl"))?;
    if let Some(rows) = clean_rows(Some(&audit), said.labels.len()) {
        let clean = scores_of(&said, &rows, (&results.positive, results.test.threshold), results.seed)?;
        results.verdict.findings.push(format!(
            "On the {} test rows that stand nowhere else F1 is {:.3} (all rows: {:.3}), precision {:.3}, recall {:.3}.",
            rows.len(),
            clean.f1,
            results.test.f1,
            clean.precision,
            clean.recall
        ));
        if results.verdict.fit && !Verdict::judge(&clean, None).fit {
            results.verdict.fit = false;
            let why = "Not fit for use: the scores are good only with test rows that were seen before.";
            results.verdict.findings.insert(0, why.into());
        }
        results.clean = Some(clean);
    }
    results.verdict.findings.extend(words(&audit));
    results.audit = Some(audit);
    Ok(())
}

/// The findings of an audit.
pub fn words(audit: &AuditResults) -> Vec<String> {
    let test =
        if audit.dropped { "they are left out of every score" } else { "scores without them stand beside" };
    let validation = if audit.dropped {
        "they choose no threshold, checkpoint or setting"
    } else {
        "they take part in choosing thresholds and checkpoints, unless audit = \"drop\""
    };
    let mut found: Vec<String> = [
        leaking(audit, "test", &audit.test_rows, test),
        leaking(audit, "validation", &audit.validation_rows, validation),
    ]
    .into_iter()
    .flatten()
    .collect();
    if found.is_empty() {
        let rows = |part: &str| audit.rows.get(part).copied().unwrap_or(0);
        let known = audit.rows.contains_key("corpus");
        let (places, text) = match known {
            true => ("training, validation or the text of the pre-training", " or that text"),
            false => ("training or validation", ""),
        };
        found.push(format!(
            "No leakage found: none of {} test rows stands, exactly or nearly, in {places}, and none of {} validation \
             rows in training{text}.",
            rows("test"),
            rows("validation")
        ));
    }
    if audit.unknown_text {
        found.push(
            "Not all text that the model was pre-trained on is known here, so overlaps with it may be missing."
                .into(),
        );
    }
    found
}

fn leaking(audit: &AuditResults, part: &str, rows: &[usize], consequence: &str) -> Option<String> {
    let all = *audit.rows.get(part)?;
    let of_part = audit.overlaps.iter().filter(|o| o.part == part && o.with != part && o.total() > 0);
    let places: Vec<String> = of_part.map(|o| format!("{} in {}", o.total(), o.with)).collect();
    let (found, share) = (rows.len(), 100.0 * rows.len() as f64 / all as f64);
    (found > 0).then(|| {
        let places = places.join(", ");
        format!(
            "Leakage: {found} of {all} {part} rows ({share:.1} %) stand, exactly or nearly, elsewhere ({places}); \
             {consequence}."
        )
    })
}
