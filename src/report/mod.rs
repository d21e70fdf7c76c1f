//! Reports: what runs found out, as tables for the terminal and report.md and as a page with plots.
//!
//! Layer 7, but needs only layer 0 and the analysis, so old runs can be reported without model or device. A run becomes a
//! [`Document`] once; every style draws that.

mod axis;
mod compare;
mod compare_plots;
mod compare_tables;
mod confusion;
mod curves;
mod document;
mod html;
mod plot;
mod runs;
mod seed_curves;
mod table;
mod tables;
mod text;

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

pub use compare::compared;
pub use document::{Block, Document};
pub use runs::{evaluated, finetuned, inspected, overlaps, pretrained};
pub use table::Table;
pub use text::Style;

use crate::error::{Error, Result};
use crate::files;
use crate::results::{Comparison, Finetuned, Pretrained};
use crate::run_dir::read_json;

/// The report of the finished run at `path`, whatever its command was.
///
/// Errors: no results there (66), results of an unknown phase (65).
pub fn read(path: &Path) -> Result<Document> {
    let results: Value = read_json(path, "results.json")?;
    match results["phase"].as_str() {
        Some("pretrain") => Ok(pretrained(&Pretrained::load(path)?)),
        Some("finetune") => Ok(finetuned(&Finetuned::load(path)?)),
        Some("compare") => Ok(compared(&Comparison::load(path)?)),
        other => {
            Err(Error::data(format!("{}: unknown phase {other:?}", path.join("results.json").display())))
        }
    }
}

/// Writes `results.json`, `report.md` and `report.html` into the run directory `dir`.
pub fn publish(dir: &Path, results: &impl Serialize, document: &Document) -> Result<()> {
    let mut json =
        serde_json::to_vec_pretty(results).map_err(|cause| Error::data(format!("results.json: {cause}")))?;
    json.push(b'\n');
    files::write_atomic(&dir.join("results.json"), &json)?;
    files::write_atomic(&dir.join("report.md"), document.text(Style::Markdown).as_bytes())?;
    write_html(dir, document)
}

/// Writes `report.html` into the run directory `dir`.
pub fn write_html(dir: &Path, document: &Document) -> Result<()> {
    files::write_atomic(&dir.join("report.html"), document.html().into_string().as_bytes())
}

/// Blocks without a document around them, for the terminal.
pub fn blocks_text(blocks: &[Block]) -> String {
    blocks.iter().filter_map(|block| block.text(Style::Terminal)).collect()
}
