//! Tables and pages from what runs stored; reads run directories and nothing else.
//!
//! Layer 6, but sees only layer 0, so old runs can be reported without model or device.

mod cells;
mod compare;
mod compare_tables;
mod findings;
mod leakage;
mod page;
mod predictions;
mod results;
mod tables;

pub use cells::{Arm, cell_folder};
pub use compare::{Outline, compare};
pub use compare_tables::compare_report;
pub use leakage::{add_audit, words as audit_words};
pub use page::{evaluations, write_html};
pub use predictions::Predictions;
pub use results::{
    AuditResults, BaselineResults, CompareResults, FinetuneResults, Mistake, Overlap, OverlapExample,
    PartSummary, PretrainResults, TransferPoint,
};
pub use tables::{
    Style, audit_table, finetune_report, inspect_tables, pretrain_report, report, scores_table,
};

use std::path::Path;

use crate::error::{Error, Result};
use crate::files;

/// Writes `mistakes.jsonl`; without mistakes there is no file.
pub fn write_mistakes(path: &Path, mistakes: &[Mistake]) -> Result<()> {
    if mistakes.is_empty() {
        return Ok(());
    }
    let lines: serde_json::Result<Vec<String>> = mistakes.iter().map(serde_json::to_string).collect();
    let text = lines.map_err(Error::data)?.join("\n") + "\n";
    files::write_atomic(&path.join("mistakes.jsonl"), text.as_bytes())
}
