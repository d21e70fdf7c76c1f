//! Tab-separated rows as the UCI collections write them: `label<TAB>text`, no quoting, no escapes.

use super::super::text::Lines;
use super::rows::{Columns, Label, Rows, for_each_line};
use crate::error::Result;

/// Reads `label<TAB>text` rows; the text may hold further tabs.
///
/// A first line of exactly the two column names is a header and gives their order. Where no label is asked
/// for, a row without a tab is a text as a whole.
pub(super) fn read(lines: Lines, columns: Columns, rows: &mut Rows) -> Result<()> {
    let label = columns.label.unwrap_or("label");
    let usual = format!("{label}\t{}", columns.text);
    let swapped = format!("{}\t{label}", columns.text);
    let mut label_last = false;
    for_each_line(lines, rows, |rows, number, line| {
        if number == 1 && (line == usual || line == swapped) {
            label_last = line == swapped;
            return;
        }
        let fields = if label_last {
            line.rsplit_once('\t').map(|(text, label)| (label, text))
        } else {
            line.split_once('\t')
        };
        match fields {
            Some((label, text)) => rows.push(number, columns.label.map(|_| Label::text(label)), text),
            None if columns.label.is_none() => rows.push(number, None, line),
            None => rows.reject(number, "no tab between label and text"),
        }
    })
}

/// Reads one text a line.
pub(super) fn read_plain(lines: Lines, rows: &mut Rows) -> Result<()> {
    for_each_line(lines, rows, |rows, number, line| rows.push(number, None, line))
}
