//! N-grams that answer beside a transformer: both as one.

use std::path::Path;

use crate::baseline::{Features, LinearLoss, NgramKind, Ngrams};
use crate::data::{Example, LabelledSplit};
use crate::error::Result;
use crate::metrics::combination::Combination;
use crate::results::Predictions;

/// What answers beside a transformer: a support vector machine on runs of characters.
pub const BESIDE: NgramKind = NgramKind { features: Features::Chars, loss: LinearLoss::SquaredHinge };

/// Fitted n-grams, and how their answers weigh.
pub struct Beside {
    ngrams: Ngrams,
    /// Exponents of the transformer's probabilities and of theirs.
    pub exponents: Combination,
}

/// N-grams fitted on the training rows, their penalty chosen on validation.
///
/// Errors: as [`Ngrams::fit`].
pub fn fit(kind: NgramKind, split: &LabelledSplit) -> Result<Ngrams> {
    let pairs = |rows: &[Example]| rows.iter().map(|row| (row.text.clone(), row.label)).collect::<Vec<_>>();
    let leading = split.positive_leads.then_some(split.positive);
    Ngrams::fit(kind, &pairs(&split.train), &pairs(&split.validation), split.label_names.len(), leading)
}

impl Beside {
    /// Fits n-grams, and weighs them by the transformer's answers to the validation rows.
    ///
    /// Errors: as [`Ngrams::fit`].
    pub fn fit(split: &LabelledSplit, validation: &Predictions) -> Result<Self> {
        let ngrams = fit(BESIDE, split)?;
        let theirs = ngrams.probabilities(&texts(&split.validation));
        let exponents = Combination::fit(&validation.labels, &validation.probabilities, &theirs);
        Ok(Self { ngrams, exponents })
    }

    /// The same answers to these rows with those of the n-grams.
    pub fn answers(&self, rows: &[Example], of_transformer: &Predictions) -> Predictions {
        let probabilities = self.exponents.of(&of_transformer.probabilities, &self.alone(&texts(rows)));
        Predictions { probabilities, ..of_transformer.clone() }
    }

    /// Probabilities (texts, num_labels) of the n-grams alone.
    pub fn alone<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Vec<Vec<f64>> {
        self.ngrams.probabilities(texts)
    }

    /// Keeps the n-grams in the folder of a run; the exponents stand in its results.
    ///
    /// Errors: the place cannot be written (73), disk full (74).
    pub fn write(&self, folder: &Path) -> Result<()> {
        self.ngrams.write(folder)
    }

    /// The n-grams kept in `folder`, weighed so.
    ///
    /// Errors: missing (66), damaged (65).
    pub fn read(folder: &Path, num_labels: usize, exponents: Combination) -> Result<Self> {
        Ok(Self { ngrams: Ngrams::read(folder, num_labels)?, exponents })
    }
}

fn texts(rows: &[Example]) -> Vec<&str> {
    rows.iter().map(|row| row.text.as_str()).collect()
}
