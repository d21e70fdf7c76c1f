//! What an audit means for the scores: which test rows are clean, and what to say.

use crate::error::Result;
use crate::metrics::{Scores, Verdict};
use crate::results::{AuditResults, Leakage, Predictions};

/// Puts an audit beside the scores of a run on test: the scores of the clean rows, and the findings into `verdict`,
/// which those rows alone must bear out.
pub fn judge(
    audit: Option<AuditResults>,
    answers: &Predictions,
    positive: usize,
    seed: u64,
    test: &Scores,
    verdict: &mut Verdict,
) -> Result<Leakage> {
    let Some(audit) = audit else { return Ok(Leakage::default()) };
    let mut clean = None;
    if let Some(rows) = audit.clean_rows(answers.labels.len()) {
        let scores = clean_scores(answers, &rows, positive, test.threshold, seed)?;
        verdict.findings.push(format!(
            "On the {} test rows without duplicates elsewhere F1 is {:.3} (all rows: {:.3}), precision {:.3}, recall {:.3}.",
            rows.len(),
            scores.f1,
            test.f1,
            scores.precision,
            scores.recall
        ));
        if verdict.fit && !Verdict::judge(&scores, None).fit {
            verdict.fit = false;
            let why = "Not fit for use: the scores are good only with test rows that were seen before.";
            verdict.findings.insert(0, why.into());
        }
        clean = Some(scores);
    }
    verdict.findings.extend(words(&audit));
    Ok(Leakage { audit: Some(audit), clean })
}

/// Scores of the clean rows at the threshold that all rows were answered by.
pub fn clean_scores(
    answers: &Predictions,
    rows: &[usize],
    positive: usize,
    threshold: Option<f64>,
    seed: u64,
) -> Result<Scores> {
    answers.only(rows).scores(positive, threshold.into(), seed)
}

/// The findings of an audit.
pub fn words(audit: &AuditResults) -> Vec<String> {
    let test =
        if audit.dropped { "they are left out of every score" } else { "scores without them are given too" };
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
        // In a cross-validation all rows are test rows.
        let (places, text) = match (rows("train") > 0, known) {
            (true, true) => {
                ("rows in training, validation or the text of the pre-training", " or of that text")
            }
            (true, false) => ("rows in training or validation", ""),
            (false, true) => ("the text of the pre-training", ""),
            (false, false) => ("", ""),
        };
        let validation = match rows("validation") {
            0 => String::new(),
            rows => format!(", and none of {rows} validation rows of training rows{text}"),
        };
        let test = rows("test");
        found.push(match places {
            "" => "Nothing is known of the text of the pre-training, so no row could be sought in it.".into(),
            _ => format!(
                "No leakage found: none of {test} test rows is an exact or near duplicate of {places}{validation}."
            ),
        });
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
            "Leakage: {found} of {all} {part} rows ({share:.1} %) are exact or near duplicates of other rows ({places}); \
             {consequence}."
        )
    })
}
