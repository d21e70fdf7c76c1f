//! Comma-separated rows with a header, quoted as RFC 4180 says; parsed by the csv crate.

use std::io::{self, Read};

use csv::StringRecord;

use super::super::text::Lines;
use super::rows::{Columns, Label, MAX_FIELD_BYTES, Rows, quoted, quoted_all, too_long};
use crate::error::{Error, Result};

/// Stands behind the text as a row of its own. The csv crate closes an open quote at the end in silence;
/// then this row is part of the last field. Text holds no NUL.
const END: &str = "\n\0\n";

/// Reads the text and label columns; other columns are ignored.
///
/// Errors: a column missing or named twice, a record longer than a field may be (65). A wrong number of
/// fields or a quote that is never closed makes a bad row.
pub(super) fn read(lines: Lines, columns: Columns, rows: &mut Rows) -> Result<()> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        // Field counts are checked below, so that bad rows are collected.
        .flexible(true)
        .from_reader(MarkedText {
            lines,
            ready: Vec::new(),
            taken: 0,
            total: 0,
            record_start: 0,
            ended: false,
        });
    let mut record = StringRecord::new();
    if !next(&mut reader, &mut record, rows)? {
        return Ok(());
    }
    let header = std::mem::take(&mut record);
    let text_at = column(&header, columns.text, "text_column", rows)?;
    let label_at = columns.label.map(|name| column(&header, name, "label_column", rows)).transpose()?;
    while !rows.stopped() && next(&mut reader, &mut record, rows)? {
        let open = record.iter().next_back().is_some_and(|field| field.ends_with(END));
        // The crate's position of a record is that of the blank lines above it.
        let breaks = record.iter().map(|field| field.matches('\n').count() as u64).sum::<u64>();
        let line = reader.position().line() - breaks - u64::from(!open);
        if open {
            rows.reject(line, "a quote opens in this row and is never closed");
        } else if record.len() != header.len() {
            rows.reject(line, format!("{} fields, the header has {}", record.len(), header.len()));
        } else {
            rows.push(line, label_at.map(|at| Label::text(&record[at])), &record[text_at]);
        }
    }
    Ok(())
}

/// Reads one record; false at the end of the text.
fn next(reader: &mut csv::Reader<MarkedText>, record: &mut StringRecord, rows: &Rows) -> Result<bool> {
    let start = reader.position().clone();
    reader.get_mut().record_start = start.byte();
    let more = reader.read_record(record).map_err(|cause| {
        let why = cause.to_string();
        let inner = match cause.into_kind() {
            csv::ErrorKind::Io(cause) => cause.into_inner(),
            _ => None,
        };
        match inner.map(|inner| inner.downcast::<Error>()) {
            Some(Ok(error)) => *error,
            Some(Err(limit)) => rows.error(start.line(), limit),
            None => rows.error(start.line(), why),
        }
    })?;
    Ok(more && !(record.len() == 1 && record[0] == *END.trim_matches('\n')))
}

/// Place of a column, which `option` names.
fn column(header: &StringRecord, name: &str, option: &str, rows: &Rows) -> Result<usize> {
    let mut places = header.iter().enumerate().filter(|(_, found)| *found == name).map(|(at, _)| at);
    let Some(at) = places.next() else {
        let advice = rows.advice().set(option, "rename one");
        let why = format!("no column {}, found: {}{advice}", quoted(name), quoted_all(header));
        return Err(rows.error(1, why));
    };
    match places.next() {
        Some(_) => Err(rows.error(1, format!("column {} is there twice; rename one", quoted(name)))),
        None => Ok(at),
    }
}

/// The validated text of a file and then `END`, as the bytes the csv crate wants.
struct MarkedText {
    lines: Lines,
    ready: Vec<u8>,
    /// Bytes of `ready` handed on.
    taken: usize,
    /// Bytes handed on in all.
    total: u64,
    /// Place of the record being read.
    record_start: u64,
    ended: bool,
}

impl Read for MarkedText {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.ready.len() && !self.ended {
            self.taken = 0;
            self.ready = match self.lines.next_line().map_err(io::Error::other)? {
                // Only lossy text has them.
                Some(line) => line.replace('\0', "\u{fffd}").into_bytes(),
                None => END.into(),
            };
            self.ended = self.ready == END.as_bytes();
        }
        if self.total - self.record_start > MAX_FIELD_BYTES as u64 {
            return Err(io::Error::other(too_long()));
        }
        let count = (&self.ready[self.taken..]).read(buffer)?;
        self.taken += count;
        self.total += count as u64;
        Ok(count)
    }
}
