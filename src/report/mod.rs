//! Tables and pages from what runs stored; reads run directories and nothing else.
//!
//! Layer 7, but sees only layer 0 and the analysis, so old runs can be reported without model or device.

mod compare_tables;
mod page;
mod tables;

pub use compare_tables::compare_report;
pub use page::write_html;
pub use tables::{
    Style, audit_table, finetune_report, inspect_tables, pretrain_report, report, scores_table,
};
