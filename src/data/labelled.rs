//! Labelled rows from TSV, CSV, JSON Lines or Parquet.
//!
//! Station before `split`.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::demo;
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
    /// The class that precision, recall and F1 are about; empty is the rarer one.
    pub positive_label: String,
    /// Share of `train` in validation when it has no file of its own.
    pub validation_fraction: f64,
    /// Share of `train` in test when it has no file of its own.
    pub test_fraction: f64,
    /// Training rows kept, a stratified subset; 0 keeps all.
    pub label_budget: usize,
    /// Which subset.
    pub budget_seed: u64,
    /// File with the SHA-256 of a text per line; such rows are left out of validation and test. Empty for none.
    pub leave_out: String,
    /// Replace undecodable bytes instead of stopping.
    pub lossy: bool,
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
            label_budget: 0,
            budget_seed: 0,
            leave_out: String::new(),
            lossy: false,
        }
    }
}

impl LabelledConfig {
    /// Errors: no file, no column or one column for both, or fractions that leave nothing to train on.
    pub fn check(&self) -> Result<()> {
        if self.train.is_empty() {
            return Err(Error::usage("data.train is empty; name a file of labelled rows, or \"demo\""));
        }
        if self.text_column.is_empty()
            || self.label_column.is_empty()
            || self.text_column == self.label_column
        {
            let (text, label) = (&self.text_column, &self.label_column);
            let why = format!("data.text_column is '{text}' and data.label_column '{label}'");
            return Err(Error::usage(format!("{why}; they must be two names")));
        }
        let distinct: BTreeSet<&String> = self.label_names.iter().collect();
        if distinct.len() < self.label_names.len() || distinct.iter().any(|name| name.trim().is_empty()) {
            return Err(Error::usage("data.label_names must be distinct and not empty"));
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

    /// Text files are taken for `label<TAB>text`.
    fn format_of(&self, path: &Path) -> Result<RowFormat> {
        match self.format.of(path) {
            Some(RowFormat::Text) => Ok(RowFormat::Tsv),
            Some(format) => Ok(format),
            None => {
                let why = format!("the name of {} does not tell its format", path.display());
                Err(Error::usage(format!("{why}; set data.format to tsv, csv, jsonl or parquet")))
            }
        }
    }

    fn columns(&self) -> Columns<'_> {
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
}

/// Reads a file of labelled rows.
///
/// `known` are the labels allowed, in their order; none means those found, sorted by number if all are
/// integers, else by text.
/// Errors: unreadable (66); not UTF-8, bad rows, a missing column, no rows (65), with file and line; a format
/// that cannot be told (2).
pub fn read_labelled(path: &Path, config: &LabelledConfig, known: Option<&[String]>) -> Result<Labelled> {
    let format = config.format_of(path)?;
    labelled(path, config, known, |rows| table::read_file(path, format, config.lossy, config.columns(), rows))
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
    labelled(path, config, known, |rows| table::read_lines(lines, RowFormat::Tsv, config.columns(), rows))
}

/// Reads the texts of a file to predict on: labels need not be there and are ignored if they are.
///
/// A .txt file holds one text a line unless `data.format` says otherwise.
/// Errors: as `read_labelled`.
pub fn read_texts(path: &Path, config: &LabelledConfig) -> Result<Vec<String>> {
    let plain = config.format == RowFormat::Auto && config.format.of(path) == Some(RowFormat::Text);
    let format = if plain { RowFormat::Text } else { config.format_of(path)? };
    let mut texts = Vec::new();
    let mut take = |row: Row| {
        texts.push(row.text);
        Ok(())
    };
    let mut rows = Rows::new(path, &mut take);
    let columns = Columns { label: None, ..config.columns() };
    table::read_file(path, format, config.lossy, columns, &mut rows)?;
    rows.finish()?;
    Ok(texts)
}

fn labelled(
    path: &Path,
    config: &LabelledConfig,
    known: Option<&[String]>,
    read: impl FnOnce(&mut Rows) -> Result<()>,
) -> Result<Labelled> {
    let named = (!config.label_names.is_empty()).then_some(config.label_names.as_slice());
    let known = known.or(named);
    let mut found = Vec::new();
    let mut take = |row: Row| {
        found.push(row);
        Ok(())
    };
    let mut rows = Rows::new(path, &mut take).with_labels(known, &config.label_names);
    read(&mut rows)?;
    rows.finish()?;
    let label_names = known.map_or_else(|| found_labels(&found), <[String]>::to_vec);
    let numbers: HashMap<&str, u32> = label_names.iter().map(String::as_str).zip(0..).collect();
    let examples = found.into_iter().map(|Row { label, text, line }| {
        let label = *numbers.get(label.as_str()).expect("every label was found or known");
        Example { text, label, line }
    });
    let examples = examples.collect();
    Ok(Labelled { examples, label_names })
}

fn found_labels(rows: &[Row]) -> Vec<String> {
    let names: BTreeSet<&str> = rows.iter().map(|row| row.label.as_str()).collect();
    let mut names: Vec<String> = names.into_iter().map(String::from).collect();
    if names.iter().all(|name| name.parse::<i64>().is_ok()) {
        names.sort_by_key(|name| name.parse::<i64>().unwrap_or_default());
    }
    names
}
