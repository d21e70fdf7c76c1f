//! Rows for a finished model, one at a time: texts to answer, and labelled rows to be scored on.
//!
//! A file is never held as a whole.

use std::path::Path;

use super::label_column::{Allowed, LabelColumn};
use super::labelled::{LabelledConfig, allowed};
use super::table::{self, Columns, Row, RowFormat, Rows};
use super::text::Lines;
use crate::error::Result;

/// Where texts come from.
#[derive(Clone, Copy, Debug)]
pub enum TextSource<'a> {
    /// A file.
    File(&'a Path),
    /// Standard input, one text a line unless the config names a format.
    StandardInput,
}

/// Hands each text of a source to `take` as it comes: labels need not be there and are ignored if they are.
///
/// A .txt file holds one text a line unless `config.format` says otherwise. Blank lines are passed over.
/// Errors: as `read_labelled`, after the rows before the bad one were handed on; what `take` says, at once.
pub fn for_each_text(
    source: TextSource<'_>,
    config: &LabelledConfig,
    mut take: impl FnMut(&str) -> Result<()>,
) -> Result<()> {
    let mut take = |row: Row<'_>| take(row.text);
    let columns = Columns { label: None, ..config.columns() };
    match source {
        TextSource::File(path) => {
            let plain = config.format == RowFormat::Auto && config.format.of(path) == Some(RowFormat::Text);
            let format = if plain { RowFormat::Text } else { config.format_of(path)? };
            let mut rows = Rows::new(path, &mut take).advised(config.advice).stopping_at_bad();
            table::read_file(path, format, config.lossy, columns, &mut rows)?;
            rows.finish().map(drop)
        }
        TextSource::StandardInput => {
            let name = Path::new("standard input");
            let lines = Lines::new(name, Box::new(std::io::stdin()), config.lossy).advised(config.advice);
            let format = if config.format == RowFormat::Auto { RowFormat::Text } else { config.format };
            let mut rows = Rows::new(name, &mut take).advised(config.advice).stopping_at_bad();
            table::read_lines(lines, format, columns, &mut rows)?;
            rows.finish_even_empty()
        }
    }
}

/// All texts of a file, as [`for_each_text`] hands them on.
pub fn read_texts(path: &Path, config: &LabelledConfig) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for_each_text(TextSource::File(path), config, |text| {
        texts.push(text.to_string());
        Ok(())
    })?;
    Ok(texts)
}

/// The labels of a file of labelled rows, as numbers of the model's labels `known`; rows may also be labelled by these
/// numbers.
///
/// Errors: as `read_labelled`; a label that the model does not know (65).
pub fn read_labels(path: &Path, config: &LabelledConfig, known: &[String]) -> Result<Vec<u32>> {
    let (mut column, mut labels) = (LabelColumn::default(), Vec::new());
    let of_file = each_labelled(path, config, &mut |row| {
        labels.push(row.label.map_or(0, |label| column.push(label, row.line)));
        Ok(())
    })?;
    let allowed = Allowed { numbered: true, ..allowed(config, &of_file, Some(known)) };
    let named = column.named(path, &allowed)?;
    labels.iter_mut().for_each(|label| *label = named.labels[*label as usize]);
    Ok(labels)
}

/// Hands each text of a file of labelled rows to `take`.
///
/// Errors: as `read_labelled`; what `take` says.
pub fn for_each_labelled_text(
    path: &Path,
    config: &LabelledConfig,
    mut take: impl FnMut(&str) -> Result<()>,
) -> Result<()> {
    each_labelled(path, config, &mut |row| take(row.text)).map(drop)
}

fn each_labelled(
    path: &Path,
    config: &LabelledConfig,
    take: &mut dyn FnMut(Row<'_>) -> Result<()>,
) -> Result<Vec<String>> {
    let mut rows = Rows::new(path, take).advised(config.advice);
    table::read_file(path, config.format_of(path)?, config.lossy, config.columns(), &mut rows)?;
    rows.finish()
}
