//! From the answers of a fine-tuned classifier to its results.

use crate::error::Result;
use crate::metrics::calibration::Calibration;
use crate::metrics::combination::Combination;
use crate::metrics::decision::{DecisionConfig, operating_points};
use crate::metrics::learning::{LearningCurve, LearningPoint};
use crate::metrics::{History, Threshold, Verdict};
use crate::results::{
    AuditResults, FinetuneResults, FinetuneScores, PartSummary, Predictions, TrainingFacts,
};

/// What a fine-tuning is judged by.
pub struct FinetuneRun<'a> {
    /// Where the weights came from.
    pub init_from: &'a str,
    /// Seed of the run, and of the resamples behind the intervals.
    pub seed: u64,
    /// Number of the label that precision, recall and the threshold are about.
    pub positive: usize,
    /// Whether it leads, by a threshold.
    pub positive_leads: bool,
    /// How the threshold is chosen.
    pub decision: &'a DecisionConfig,
    /// Answers to the validation rows.
    pub validation: &'a Predictions,
    /// Answers to the test rows.
    pub test: &'a Predictions,
    /// Exponents, where these are answers of the n-grams too.
    pub with_ngrams: Option<Combination>,
    /// Losses at every evaluation.
    pub history: &'a History,
    /// The same with their steps, as far as they were logged.
    pub evaluations: &'a [LearningPoint],
    /// Rows, labels and lengths.
    pub parts: Vec<PartSummary>,
    /// Rows that were seen before; none where nobody looked.
    pub audit: Option<AuditResults>,
    /// What the training was given and took.
    pub training: TrainingFacts,
}

/// What validation rows of one label alone cannot choose, in words.
pub fn one_sided(labels: &[u32], label_names: &[String]) -> Option<String> {
    let (first, rest) = labels.split_first()?;
    rest.iter().all(|label| label == first).then(|| {
        let name = &label_names[*first as usize];
        let threshold = if label_names.len() == 2 { " and no threshold" } else { "" };
        format!(
            "Every validation row is labelled {name}, so no score of them can choose the best evaluation{threshold}: the \
             validation loss chooses; give validation rows of every label by data.validation or a larger \
             data.validation_fraction."
        )
    })
}

/// Chooses the threshold on validation, applies it once to test, and judges what comes out.
///
/// Errors: answers that cannot be scored, such as probabilities that are none.
pub fn finetune(run: FinetuneRun<'_>) -> Result<FinetuneResults> {
    let FinetuneRun { seed, positive, positive_leads, validation, test, .. } = run;
    let (of_validation, of_test) = (validation.one_label(positive), test.one_label(positive));
    let (rows, test_rows) = ((&of_validation.0[..], &of_validation.1[..]), (&of_test.0[..], &of_test.1[..]));
    let frozen = Threshold::from(positive_leads.then(|| run.decision.rule().choose(rows).0));
    let scores = FinetuneScores {
        validation: validation.scores(positive, frozen, seed)?,
        test: test.scores(positive, frozen, seed)?,
        per_class: Vec::new(),
        operating_points: if positive_leads {
            operating_points(run.decision, rows, test_rows)
        } else {
            Vec::new()
        },
        with_ngrams: run.with_ngrams,
        calibration: Some(Calibration::measure(validation.answered(), test.answered(), positive)),
    };
    let scores = FinetuneScores { per_class: scores.test.per_class.clone(), ..scores };
    let mut verdict = Verdict::judge(&scores.test, Some(run.history));
    verdict.findings.extend(one_sided(&validation.labels, &validation.label_names));
    verdict.findings.extend(run.with_ngrams.map(|Combination { first, second }| {
        format!(
            "The transformer and character n-grams answer as one, with weights {first:.1} and {second:.1}; model/ is the \
             transformer alone, and its README.md has the scores of that."
        )
    }));
    let leakage = super::leakage::judge(run.audit, test, positive, seed, &scores.test, &mut verdict)?;
    Ok(FinetuneResults {
        phase: "finetune".into(),
        init_from: run.init_from.into(),
        seed,
        positive: test.label_names[positive].clone(),
        scores,
        learning: LearningCurve::of(run.evaluations, run.training.best_step),
        parts: run.parts,
        leakage,
        verdict,
        training: run.training,
    })
}
