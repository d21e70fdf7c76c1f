//! From predictions and logs to results: statistics over seeds, findings in words, what an audit means.
//!
//! Layer 6.

mod cells;
mod comparison;
mod findings;
mod leakage;

pub use cells::Cell;
pub use comparison::{Outline, compare};
pub use findings::{SIGNIFICANT, labels, p_words};
pub use leakage::{add_audit, words as audit_words};
