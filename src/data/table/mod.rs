//! Rows of TSV, CSV, JSON Lines and Parquet files, with honest errors for everything else.
//!
//! Station before `corpus` and `labelled`, which say what a row is for. A file with bad rows is refused as a
//! whole: a silently dropped row would change what the figures are about.

mod csv_rows;
mod jsonl_rows;
mod parquet_pages;
mod parquet_rows;
mod rows;
mod thrift;
mod tsv_rows;

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) use self::rows::{Columns, Label, Row, Rows, bad_rows, listed, quoted, quoted_all};
use super::text::{Lines, extension};
use crate::error::{Error, Result};

/// How rows are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RowFormat {
    /// By extension: .tsv .txt, .csv, .jsonl .ndjson .json, .parquet; all but the last also with .gz or .zst.
    #[default]
    Auto,
    /// One text a line, for a corpus by the rules of `data.document`.
    Text,
    /// `label<TAB>text`, no quoting.
    Tsv,
    /// With a header, quoted as RFC 4180 says.
    Csv,
    /// One object a line.
    Jsonl,
    /// Columns of strings, integers or booleans, in pages without compression or with snappy, gzip or zstd.
    Parquet,
}

impl RowFormat {
    /// The format by which a file that a command names is read: `asked`, or that of its extension, or this one.
    pub fn for_file(self, path: &Path, asked: Option<Self>) -> Self {
        asked.unwrap_or(if Self::Auto.of(path).is_some() { Self::Auto } else { self })
    }

    /// The format of `path`: this one, or that of its extension where this is `Auto`.
    pub(super) fn of(self, path: &Path) -> Option<Self> {
        if self != Self::Auto {
            return Some(self);
        }
        match extension(path).as_str() {
            "txt" => Some(Self::Text),
            "tsv" => Some(Self::Tsv),
            "csv" => Some(Self::Csv),
            "jsonl" | "ndjson" | "json" => Some(Self::Jsonl),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

/// Hands every row of the file at `path` to `rows`.
///
/// Errors: unreadable (66); not UTF-8, a missing column, damaged (65), with file and line or row.
pub(super) fn read_file(
    path: &Path,
    format: RowFormat,
    lossy: bool,
    columns: Columns,
    rows: &mut Rows,
) -> Result<()> {
    match format {
        RowFormat::Parquet => parquet_rows::read(path, columns, rows),
        _ => read_lines(Lines::open(path, lossy)?.advised(rows.advice()), format, columns, rows),
    }
}

/// The same for text that is already open.
pub(super) fn read_lines(lines: Lines, format: RowFormat, columns: Columns, rows: &mut Rows) -> Result<()> {
    match format {
        RowFormat::Csv => csv_rows::read(lines, columns, rows),
        RowFormat::Jsonl => jsonl_rows::read(lines, columns, rows),
        RowFormat::Text => tsv_rows::read_plain(lines, rows),
        RowFormat::Auto | RowFormat::Tsv => tsv_rows::read(lines, columns, rows),
        RowFormat::Parquet => Err(Error::usage("Parquet is no text format; name a file")),
    }
}
