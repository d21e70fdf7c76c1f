//! Rows of one file as they stand in it: what the three formats hand their findings to.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use super::super::text::Lines;
use crate::error::{Error, Result};

/// No label and no text is longer: bounds memory when a quote or a line feed is missing.
pub(super) const MAX_FIELD_BYTES: usize = 16 << 20;

/// Bad rows shown in full; the others are counted.
const SHOWN_BAD_ROWS: usize = 3;

/// The columns to read; without a label column any label is ignored.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a> {
    pub text: &'a str,
    pub label: Option<&'a str>,
}

/// One row before its label has a number; the label is empty where none is read.
pub(super) struct Row {
    pub label: String,
    pub text: String,
    pub line: u64,
}

/// The good rows of a file, and what is wrong with the bad ones.
pub(super) struct Rows<'a> {
    path: PathBuf,
    known: Option<&'a [String]>,
    good: Vec<Row>,
    shown: Vec<String>,
    bad: usize,
}

impl<'a> Rows<'a> {
    /// Starts with no rows; `path` is only named in errors, a label outside `known` makes a row bad.
    pub(super) fn new(path: &Path, known: Option<&'a [String]>) -> Self {
        Self { path: path.to_path_buf(), known, good: Vec::new(), shown: Vec::new(), bad: 0 }
    }

    /// Takes one row, bad if its text or label is empty, or if the label is NaN or not known.
    pub(super) fn push(&mut self, line: u64, label: Option<&str>, text: &str) {
        if text.trim().is_empty() {
            return self.reject(line, "the text is empty");
        }
        let label = label.map(str::trim);
        match label {
            Some("") => return self.reject(line, "the label is empty"),
            Some(label) if label.eq_ignore_ascii_case("nan") => return self.reject(line, "the label is NaN"),
            _ => {}
        }
        if let (Some(label), Some(known)) = (label, self.known)
            && !known.iter().any(|name| name == label)
        {
            return self
                .reject(line, format!("unknown label {}, known: {}", quoted(label), quoted_all(known)));
        }
        self.good.push(Row { label: label.unwrap_or_default().into(), text: text.into(), line });
    }

    /// Takes a bad row; `place` is its line, or line and column.
    pub(super) fn reject(&mut self, place: impl Display, why: impl Display) {
        self.bad += 1;
        if self.shown.len() < SHOWN_BAD_ROWS {
            self.shown.push(format!("{}:{place}: {why}", self.path.display()));
        }
    }

    /// An error of the file as a whole, found at `line`.
    pub(super) fn error(&self, line: u64, why: impl Display) -> Error {
        Error::data(format!("{}:{line}: {why}", self.path.display()))
    }

    /// Errors: bad rows, the first three by place and the count of all; no rows (65).
    pub(super) fn finish(self) -> Result<Vec<Row>> {
        if self.bad > 0 {
            let (shown, bad, all) = (self.shown.join("; "), self.bad, self.bad + self.good.len());
            return Err(Error::data(format!("{shown}; bad rows: {bad} of {all}; fix or remove them")));
        }
        if self.good.is_empty() {
            let why = "has no rows, it is empty or holds a header alone";
            return Err(Error::data(format!("{} {why}; name a file with data", self.path.display())));
        }
        Ok(self.good)
    }
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
    while let Some(mut line) = lines.next_line()? {
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
