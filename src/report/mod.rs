//! Tables and pages from what runs stored; reads run directories and nothing else.
//!
//! Layer 7, but sees only layer 0 and the analysis, so old runs can be reported without model or device.

mod compare_tables;
mod page;
mod tables;

pub use compare_tables::compare_report;
pub use page::{evaluations, write_html};
pub use tables::{
    Style, audit_table, finetune_report, inspect_tables, pretrain_report, report, scores_table,
};

use std::path::Path;

use crate::error::{Error, Result};
use crate::files;
use crate::results::Mistake;

/// Writes `mistakes.jsonl`; without mistakes there is no file.
pub fn write_mistakes(path: &Path, mistakes: &[Mistake]) -> Result<()> {
    if mistakes.is_empty() {
        return Ok(());
    }
    let lines: serde_json::Result<Vec<String>> = mistakes.iter().map(serde_json::to_string).collect();
    let text = lines.map_err(Error::data)?.join("\n") + "\n";
    files::write_atomic(&path.join("mistakes.jsonl"), text.as_bytes())
}
