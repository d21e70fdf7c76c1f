//! The rows of one file, in order: what the formats hand their findings to.

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
pub(in crate::data) struct Columns<'a> {
    pub text: &'a str,
    pub label: Option<&'a str>,
}

/// One row before its label has a number; the label is empty where none is read.
pub(in crate::data) struct Row {
    pub label: String,
    pub text: String,
    pub line: u64,
}

/// Where the good rows of a file go, and what is wrong with the bad ones.
pub(in crate::data) struct Rows<'a> {
    path: PathBuf,
    take: &'a mut dyn FnMut(Row) -> Result<()>,
    /// Labels allowed; none means all.
    known: Option<&'a [String]>,
    /// Names of labels that are numbers; empty leaves the numbers.
    label_names: Vec<String>,
    skips_blank: bool,
    good: usize,
    bad: usize,
    shown: Vec<String>,
    failed: Option<Error>,
}

impl<'a> Rows<'a> {
    /// Hands good rows to `take`; `path` is only named in errors.
    pub(in crate::data) fn new(path: &Path, take: &'a mut dyn FnMut(Row) -> Result<()>) -> Self {
        Self {
            path: path.to_path_buf(),
            take,
            known: None,
            label_names: Vec::new(),
            skips_blank: false,
            good: 0,
            bad: 0,
            shown: Vec::new(),
            failed: None,
        }
    }

    /// A label outside `known` makes a row bad; a label that is a number becomes the name at its place.
    pub(in crate::data) fn with_labels(self, known: Option<&'a [String]>, names: &[String]) -> Self {
        Self { known, label_names: names.to_vec(), ..self }
    }

    /// Blank texts are passed over instead of being bad.
    pub(in crate::data) fn skipping_blank(self) -> Self {
        Self { skips_blank: true, ..self }
    }

    /// Names that the file itself has for its numbers; those of the config go before.
    pub(super) fn offer_label_names(&mut self, names: Vec<String>) {
        if self.label_names.is_empty() {
            self.label_names = names;
        }
    }

    /// Whether there is no use in reading on.
    pub(super) fn stopped(&self) -> bool {
        self.failed.is_some()
    }

    /// Takes one row, bad if its text or label is empty, or if the label is NaN or not known.
    pub(super) fn push(&mut self, line: u64, label: Option<&str>, text: &str) {
        if text.trim().is_empty() {
            if !self.skips_blank {
                self.reject(line, "the text is empty");
            }
            return;
        }
        let label = match self.label(label.map(str::trim)) {
            Ok(label) => label,
            Err(why) => return self.reject(line, why),
        };
        self.good += 1;
        if let Err(error) = (self.take)(Row { label, text: text.into(), line }) {
            self.failed.get_or_insert(error);
        }
    }

    /// The name of a label; empty where none is read.
    fn label(&self, label: Option<&str>) -> std::result::Result<String, String> {
        let Some(label) = label else { return Ok(String::new()) };
        if label.is_empty() {
            return Err("the label is empty".into());
        }
        if label.eq_ignore_ascii_case("nan") {
            return Err("the label is NaN".into());
        }
        let name = match label.parse::<i64>() {
            Ok(number)
                if !self.label_names.is_empty() && !self.label_names.iter().any(|name| name == label) =>
            {
                let name = usize::try_from(number).ok().and_then(|number| self.label_names.get(number));
                let names = quoted_all(&self.label_names);
                name.cloned().ok_or_else(|| format!("label {number} has no name, named: {names}"))?
            }
            _ => label.to_string(),
        };
        match self.known {
            Some(known) if !known.contains(&name) => {
                Err(format!("unknown label {}, known: {}", quoted(&name), quoted_all(known)))
            }
            _ => Ok(name),
        }
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

    /// Errors: what `take` said; bad rows, the first three by place and the count of all; no rows (65).
    pub(in crate::data) fn finish(self) -> Result<()> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.bad > 0 {
            let (shown, bad, all) = (self.shown.join("; "), self.bad, self.bad + self.good);
            return Err(Error::data(format!("{shown}; bad rows: {bad} of {all}; fix or remove them")));
        }
        if self.good == 0 {
            let why = "has no rows, it is empty or holds a header alone";
            return Err(Error::data(format!("{} {why}; name a file with data", self.path.display())));
        }
        Ok(())
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
