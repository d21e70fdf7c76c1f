//! The flags that say how a file of rows is written.

use serde_json::json;

use crate::cli::ReadingArgs;
use crate::data::RowFormat;
use crate::error::{Error, Result};

/// The format asked for, if any.
pub fn format(args: &ReadingArgs) -> Result<Option<RowFormat>> {
    let known = |name: &String| {
        serde_json::from_value(json!(name))
            .map_err(|_| Error::usage(format!("--format {name}: expected text, tsv, csv, jsonl or parquet")))
    };
    args.format.as_ref().map(known).transpose()
}
