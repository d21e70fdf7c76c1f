//! A transformer's answers and those of the character n-grams as one: rows beside theirs, never in their place.

use std::path::Path;

use super::baselines::{Answers, Facts, store};
use crate::error::{Error, Result};
use crate::metrics::Threshold;
use crate::metrics::combination::Combination;
use crate::results::{Baselined, CombinedParts, Finetuned, Predictions};

/// Both as one, weighted by their log loss on validation, stored in `folder`; `kept` is where the n-grams are, in the
/// directory of the comparison.
///
/// Errors: answers to validation that are missing or about other rows (65).
pub fn combined(
    run: &Finetuned,
    ngrams: &Baselined,
    kept: Option<&Path>,
    folder: &Path,
) -> Result<Baselined> {
    let (of_run, of_ngrams) = (run.validation_predictions.as_ref(), &ngrams.validation_predictions);
    let Some(of_run) = of_run.filter(|of_run| of_run.same_rows(of_ngrams)) else {
        let why = "its answers to the validation rows are missing or about other rows";
        let hint = "remove it and go on with --resume";
        return Err(Error::data(format!("{}: {why}; {hint}", run.dir.display())));
    };
    let combination = Combination::fit(&of_run.labels, &of_run.probabilities, &of_ngrams.probabilities);
    let both = |first: &Predictions, second: &Predictions| Predictions {
        probabilities: combination.of(&first.probabilities, &second.probabilities),
        ..first.clone()
    };
    let answers = Answers {
        validation: both(of_run, of_ngrams),
        test: both(&run.predictions, &ngrams.predictions),
        positive: run.predictions.label(&run.results.positive),
        choice: run.results.scores.test.threshold.map_or(Threshold::Likeliest, |_| Threshold::BestF1),
    };
    let Combination { first, second } = combination;
    let parts = kept.and_then(|ngrams| {
        let run = run.dir.file_name()?.to_str()?.to_string();
        Some(CombinedParts { run, ngrams: ngrams.to_str()?.into(), exponents: combination })
    });
    let facts = Facts {
        phase: "combined",
        made_from: &ngrams.results.made_from,
        parts,
        setting: format!("weight {first:.1}, of the n-grams {second:.1}"),
        train_rows: ngrams.results.train_rows,
        seed: run.results.seed,
        wall_secs: run.results.training.wall_secs + ngrams.results.wall_secs,
    };
    store(answers, facts, folder)
}
