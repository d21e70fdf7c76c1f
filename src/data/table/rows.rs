//! The rows of one file, in order: what the formats hand their findings to.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use super::super::advice::Advice;
use super::super::text::Lines;
use crate::error::{Error, Result};

/// No label and no text is longer: bounds memory when a quote or a line feed is missing.
pub(super) const MAX_FIELD_BYTES: usize = 16 << 20;

/// Bad rows shown in full; the others are counted.
const SHOWN_BAD_ROWS: usize = 3;

/// The columns to read; without a label column any label is ignored.
#[derive(Clone, Copy)]
pub(in crate::data) struct Columns<'a> {
    pub text: &'a str,
    pub label: Option<&'a str>,
}

/// A label as the file writes it.
#[derive(Clone, Copy)]
pub(in crate::data) struct Label<'a> {
    pub text: &'a str,
    /// It is of a type for numbers, as in Parquet and JSON.
    pub is_number: bool,
}

impl<'a> Label<'a> {
    pub(super) fn text(text: &'a str) -> Self {
        Self { text, is_number: false }
    }

    pub(super) fn number(text: &'a str) -> Self {
        Self { text, is_number: true }
    }
}

/// One good row; its label is none where none is read.
pub(in crate::data) struct Row<'a> {
    pub label: Option<Label<'a>>,
    pub text: &'a str,
    pub line: u64,
}

/// Where the good rows of a file go, and what is wrong with the bad ones.
pub(in crate::data) struct Rows<'a> {
    path: PathBuf,
    take: &'a mut dyn FnMut(Row<'_>) -> Result<()>,
    advice: Advice,
    /// Names that the file itself has for labels that are numbers.
    label_names: Vec<String>,
    skips_blank: bool,
    stops_at_bad: bool,
    good: usize,
    bad: usize,
    shown: Vec<String>,
    failed: Option<Error>,
}

impl<'a> Rows<'a> {
    /// Hands good rows to `take`; `path` is only named in errors.
    pub(in crate::data) fn new(path: &Path, take: &'a mut dyn FnMut(Row<'_>) -> Result<()>) -> Self {
        Self {
            path: path.to_path_buf(),
            take,
            advice: Advice::default(),
            label_names: Vec::new(),
            skips_blank: false,
            stops_at_bad: false,
            good: 0,
            bad: 0,
            shown: Vec::new(),
            failed: None,
        }
    }

    /// Errors name options as `advice` says.
    pub(in crate::data) fn advised(self, advice: Advice) -> Self {
        Self { advice, ..self }
    }

    /// Blank texts are passed over instead of being bad.
    pub(in crate::data) fn skipping_blank(self) -> Self {
        Self { skips_blank: true, ..self }
    }

    /// The first bad row ends the reading, for rows that are answered as they come.
    pub(in crate::data) fn stopping_at_bad(self) -> Self {
        Self { stops_at_bad: true, ..self }
    }

    pub(in crate::data) fn advice(&self) -> Advice {
        self.advice
    }

    /// Names that the file itself has for its numbers.
    pub(super) fn offer_label_names(&mut self, names: Vec<String>) {
        self.label_names = names;
    }

    /// Whether there is no use in reading on.
    pub(super) fn stopped(&self) -> bool {
        self.failed.is_some()
    }

    /// Takes one row, bad if its text or label is empty or if the label is NaN.
    pub(super) fn push(&mut self, line: u64, label: Option<Label<'_>>, text: &str) {
        if text.trim().is_empty() {
            if !self.skips_blank {
                self.reject(line, "the text is empty");
            }
            return;
        }
        let label = label.map(|label| Label { text: label.text.trim(), ..label });
        match label.map(|label| label.text) {
            Some("") => return self.reject(line, "the label is empty"),
            Some(text) if text.eq_ignore_ascii_case("nan") => return self.reject(line, "the label is NaN"),
            _ => {}
        }
        self.good += 1;
        if let Err(error) = (self.take)(Row { label, text, line }) {
            self.failed.get_or_insert(error);
        }
    }

    /// Takes a bad row; `place` is its line, or line and column.
    pub(super) fn reject(&mut self, place: impl Display, why: impl Display) {
        self.bad += 1;
        if self.shown.len() < SHOWN_BAD_ROWS {
            self.shown.push(format!("{}:{place}: {why}", self.path.display()));
        }
        if self.stops_at_bad {
            self.failed.get_or_insert_with(|| Error::data(format!("{}; fix or remove it", self.shown[0])));
        }
    }

    /// An error of the file as a whole, found at `line`.
    pub(super) fn error(&self, line: u64, why: impl Display) -> Error {
        Error::data(format!("{}:{line}: {why}", self.path.display()))
    }

    /// As `finish`, for a stream that may hold no row.
    pub(in crate::data) fn finish_even_empty(self) -> Result<()> {
        if self.good + self.bad == 0 && self.failed.is_none() { Ok(()) } else { self.finish().map(drop) }
    }

    /// Names that the file itself has for labels that are numbers.
    ///
    /// Errors: what `take` said; bad rows, the first three by place and the count of all; no rows (65).
    pub(in crate::data) fn finish(self) -> Result<Vec<String>> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.bad > 0 {
            return Err(bad_rows(&self.shown, self.bad, self.bad + self.good));
        }
        if self.good == 0 {
            let why = "has no rows, it is empty or holds a header alone";
            return Err(Error::data(format!("{} {why}; name a file with data", self.path.display())));
        }
        Ok(self.label_names)
    }
}

/// The first bad rows, each with its place, and how many there are.
pub(in crate::data) fn bad_rows(shown: &[String], bad: usize, all: usize) -> Error {
    let shown = shown[..shown.len().min(SHOWN_BAD_ROWS)].join("; ");
    Error::data(format!("{shown}; bad rows: {bad} of {all}; fix or remove them"))
}

/// A value from a file, short and on one line.
pub(in crate::data) fn quoted(value: &str) -> String {
    const SHOWN_CHARS: usize = 40;
    let head: String = value.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    let rest = if value.chars().nth(SHOWN_CHARS).is_some() { "…" } else { "" };
    format!("'{head}{rest}'")
}

/// Some values as a list.
pub(in crate::data) fn quoted_all<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> String {
    listed(values.into_iter().map(|value| quoted(value.as_ref())))
}

/// The first few of some items, and how many more there are.
pub(in crate::data) fn listed(items: impl Iterator<Item = String>) -> String {
    const SHOWN_ITEMS: usize = 8;
    let mut items = items.fuse();
    let shown = items.by_ref().take(SHOWN_ITEMS).collect::<Vec<_>>().join(", ");
    match items.count() {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Hands each line that is not blank to `take`, with its number and without its end.
///
/// Errors: as `Lines`; a line longer than a field may be (65).
pub(super) fn for_each_line(
    mut lines: Lines,
    rows: &mut Rows,
    mut take: impl FnMut(&mut Rows, u64, &str),
) -> Result<()> {
    let mut number = 0;
    while let Some(mut line) = lines.next_line()?
        && !rows.stopped()
    {
        number += 1;
        // `Lines` hands long lines on in pieces.
        while !line.ends_with('\n')
            && let Some(piece) = lines.next_line()?
        {
            line.push_str(&piece);
            if line.len() > MAX_FIELD_BYTES {
                return Err(rows.error(number, too_long()));
            }
        }
        let line = line.trim_end_matches(['\r', '\n']);
        if !line.trim().is_empty() {
            take(rows, number, line);
        }
    }
    Ok(())
}

/// Why a row stops the reading of a file.
pub(super) fn too_long() -> String {
    let limit = MAX_FIELD_BYTES >> 20;
    format!("the row is longer than {limit} MiB; look for a missing line end or quote, or cut the text")
}
