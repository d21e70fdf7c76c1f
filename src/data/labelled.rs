//! Labelled rows from TSV, CSV, JSON Lines or Parquet.
//!
//! Station before `split`.

use std::collections::BTreeSet;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::advice::Advice;
use super::demo;
use super::label_column::{Allowed, LabelColumn, Named};
use super::table::{self, Columns, Row, RowFormat, Rows};
use super::text::Lines;
use crate::error::{Error, Result};

/// `[data]` of finetune.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LabelledConfig {
    /// File to train on; `demo` is the data inside the program.
    pub train: String,
    /// File to tune on; empty takes a part of `train`.
    pub validation: String,
    /// File to measure on; empty takes a part of `train`.
    pub test: String,
    /// `auto`, `tsv`, `csv`, `jsonl` or `parquet`.
    pub format: RowFormat,
    /// Column or key of the text.
    pub text_column: String,
    /// Column or key of the label.
    pub label_column: String,
    /// Names of labels that are numbers from 0; empty takes those a Parquet file of the Hub holds, or the numbers.
    pub label_names: Vec<String>,
    /// The class of two that precision, recall, F1 and the threshold are about; empty takes the rarer one where it has
    /// less than 40 % of all rows, and else none: the likelier label is given, and these scores are means.
    pub positive_label: String,
    /// Share of `train` in validation when it has no file of its own.
    pub validation_fraction: f64,
    /// Share of `train` in test when it has no file of its own.
    pub test_fraction: f64,
    /// Cross-validation in so many folds: the rows of all files together are divided so that close texts stay together,
    /// and fold `fold` is tested; 0 for none.
    pub folds: usize,
    /// The fold that is tested, from 1.
    pub fold: usize,
    /// Which division into folds.
    pub fold_seed: u64,
    /// Training rows kept, a stratified subset; 0 keeps all.
    pub label_budget: usize,
    /// Which subset.
    pub budget_seed: u64,
    /// File with the SHA-256 of a text per line; such rows are left out of validation and test. Empty for none.
    pub leave_out: String,
    /// Replace undecodable bytes instead of stopping.
    pub lossy: bool,
    /// How errors name these options.
    #[serde(skip)]
    pub advice: Advice,
}

impl Default for LabelledConfig {
    fn default() -> Self {
        Self {
            train: demo::NAME.into(),
            validation: String::new(),
            test: String::new(),
            format: RowFormat::Auto,
            text_column: "text".into(),
            label_column: "label".into(),
            label_names: Vec::new(),
            positive_label: String::new(),
            validation_fraction: 0.1,
            test_fraction: 0.2,
            folds: 0,
            fold: 0,
            fold_seed: 0,
            label_budget: 0,
            budget_seed: 0,
            leave_out: String::new(),
            lossy: false,
            advice: Advice::default(),
        }
    }
}

impl LabelledConfig {
    /// Errors: no file, no column or one column for both, or fractions that leave nothing to train on.
    pub fn check(&self) -> Result<()> {
        if self.train.is_empty() {
            return Err(Error::usage("data.train is empty; name a file of labelled rows, or \"demo\""));
        }
        self.check_columns()?;
        let distinct: BTreeSet<&String> = self.label_names.iter().collect();
        if distinct.len() < self.label_names.len() || distinct.iter().any(|name| name.trim().is_empty()) {
            return Err(Error::usage("data.label_names must be distinct and not empty"));
        }
        if self.folds > 0 {
            return self.check_folds();
        }
        let parts = [
            ("validation", &self.validation, self.validation_fraction),
            ("test", &self.test, self.test_fraction),
        ];
        let mut sum = 0.0;
        for (part, path, fraction) in parts {
            if !path.is_empty() || self.train == demo::NAME {
                continue;
            }
            if !(fraction > 0.0 && fraction < 1.0) {
                let range = format!("lie between 0 and 1 when data.{part} is empty");
                return Err(Error::outside(&format!("data.{part}_fraction"), fraction, range));
            }
            sum += fraction;
        }
        if sum >= 1.0 {
            let why = "data.validation_fraction and data.test_fraction leave nothing to train on";
            return Err(Error::usage(format!("{why}: together they are {sum}, they must stay below 1")));
        }
        Ok(())
    }

    /// Errors: a fold that there is not, or a share of validation that leaves nothing to train on.
    fn check_folds(&self) -> Result<()> {
        let Self { folds, fold, validation_fraction, .. } = *self;
        if folds == 1 || fold == 0 || fold > folds {
            let why = format!(
                "data.folds is {folds} and data.fold is {fold}; there must be 2 folds or more, and fold"
            );
            return Err(Error::usage(format!("{why} is one of them, from 1")));
        }
        let rest = 1.0 - 1.0 / folds as f64;
        if !(validation_fraction > 0.0 && validation_fraction < rest) {
            let range = format!("lie between 0 and {rest:.2}, what {folds} folds leave for training");
            return Err(Error::outside("data.validation_fraction", validation_fraction, range));
        }
        Ok(())
    }

    /// Errors: no column, or one column for text and label (2).
    pub fn check_columns(&self) -> Result<()> {
        let (text, label) = (&self.text_column, &self.label_column);
        if !text.is_empty() && !label.is_empty() && text != label {
            return Ok(());
        }
        let (text_key, label_key) = match self.advice {
            Advice::Flags => ("--text-column", "--label-column"),
            Advice::Keys | Advice::None => ("data.text_column", "data.label_column"),
        };
        let why = format!("{text_key} is '{text}' and {label_key} '{label}'");
        Err(Error::usage(format!("{why}; they must be two names")))
    }

    /// The same for a file that a command names: `asked` goes before what its name says, and that before the format
    /// of the files that a run was made from.
    #[must_use]
    pub fn for_file(&self, path: &Path, asked: Option<RowFormat>) -> Self {
        Self { format: self.format.for_file(path, asked), advice: Advice::Flags, ..self.clone() }
    }

    /// The same for standard input, which has no name and holds one text a line unless `asked` says otherwise.
    #[must_use]
    pub fn for_stream(&self, asked: Option<RowFormat>) -> Self {
        Self { format: asked.unwrap_or(RowFormat::Text), advice: Advice::Flags, ..self.clone() }
    }

    /// Text files are taken for `label<TAB>text`.
    pub(super) fn format_of(&self, path: &Path) -> Result<RowFormat> {
        match self.format.of(path) {
            Some(RowFormat::Text) => Ok(RowFormat::Tsv),
            Some(format) => Ok(format),
            None => {
                let why = format!("the name of {} does not tell its format", path.display());
                let advice = self.advice.set("format", "rename it to .tsv, .csv, .jsonl or .parquet");
                let choices = if self.advice == Advice::None { "" } else { " to tsv, csv, jsonl or parquet" };
                Err(Error::usage(format!("{why}{advice}{choices}")))
            }
        }
    }

    pub(super) fn columns(&self) -> Columns<'_> {
        Columns { text: &self.text_column, label: Some(&self.label_column) }
    }
}

/// One labelled text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The text as the file has it.
    pub text: String,
    /// Index into the label names.
    pub label: u32,
    /// Line of the file it starts on, from 1.
    pub line: u64,
}

/// The rows of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelled {
    /// Rows in the order of the file.
    pub examples: Vec<Example>,
    /// Name of each label.
    pub label_names: Vec<String>,
    /// Line that each label stands on first; 0 where it has no row.
    pub first_lines: Vec<u64>,
    /// Labels that are likely one in two spellings, in words.
    pub warnings: Vec<String>,
    /// Whether integers in text are names of labels, where there are names.
    pub(super) as_it_stands: bool,
}

/// Reads a file of labelled rows.
///
/// `known` are the labels allowed, in their order; none means those found, sorted by number if all are
/// integers, else by text.
/// Errors: unreadable (66); not UTF-8, bad rows, a missing column, no rows, two labels that look the same (65), with
/// file and line; a format that cannot be told (2).
pub fn read_labelled(path: &Path, config: &LabelledConfig, known: Option<&[String]>) -> Result<Labelled> {
    read_beside(path, config, known, None)
}

/// The same for a file beside another one, `as_it_stands` of which holds for it too.
pub(super) fn read_beside(
    path: &Path,
    config: &LabelledConfig,
    known: Option<&[String]>,
    as_it_stands: Option<bool>,
) -> Result<Labelled> {
    let format = config.format_of(path)?;
    labelled(path, config, (known, as_it_stands), |rows| {
        table::read_file(path, format, config.lossy, config.columns(), rows)
    })
}

/// The same for rows inside the program, which are TSV; `name` stands for the path in errors.
pub(super) fn read_embedded(
    name: &str,
    text: &'static str,
    config: &LabelledConfig,
    known: Option<&[String]>,
) -> Result<Labelled> {
    let path = Path::new(name);
    let lines = Lines::new(path, Box::new(text.as_bytes()), false);
    labelled(path, config, (known, None), |rows| {
        table::read_lines(lines, RowFormat::Tsv, config.columns(), rows)
    })
}

fn labelled(
    path: &Path,
    config: &LabelledConfig,
    (known, as_it_stands): (Option<&[String]>, Option<bool>),
    read: impl FnOnce(&mut Rows) -> Result<()>,
) -> Result<Labelled> {
    let (mut column, mut examples) = (LabelColumn::default(), Vec::new());
    let mut take = |Row { label, text, line }: Row<'_>| {
        let label = label.map_or(0, |label| column.push(label, line));
        examples.push(Example { text: text.into(), label, line });
        Ok(())
    };
    let mut rows = Rows::new(path, &mut take).advised(config.advice);
    read(&mut rows)?;
    let of_file = rows.finish()?;
    let allowed = Allowed { as_it_stands, ..allowed(config, &of_file, known) };
    let Named { labels, names, first_lines, warnings, as_it_stands } = column.named(path, &allowed)?;
    examples.iter_mut().for_each(|row| row.label = labels[row.label as usize]);
    Ok(Labelled { examples, label_names: names, first_lines, warnings, as_it_stands })
}

/// What labels may be: names of the config go before those of the file.
pub(super) fn allowed<'a>(
    config: &'a LabelledConfig,
    of_file: &'a [String],
    known: Option<&'a [String]>,
) -> Allowed<'a> {
    let named = (!config.label_names.is_empty()).then_some(config.label_names.as_slice());
    let (names, known) = (named.unwrap_or(of_file), known.or(named));
    Allowed { names, known, numbered: false, as_it_stands: None }
}
