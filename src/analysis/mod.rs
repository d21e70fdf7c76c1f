//! From predictions and learning curves to results: statistics over seeds, findings in words, what an audit means.
//!
//! Layer 6. Pure functions: nothing is read or written.

mod compare;
mod curves;
mod findings;
mod finetune;
mod leakage;
mod mistakes;

pub use compare::{ComparisonSpec, compare};
pub use findings::{SIGNIFICANT, counted, labels, p_words};
pub use finetune::{FinetuneRun, finetune, one_sided};
pub use leakage::words as audit_words;
pub use mistakes::{LabelledTexts, mistakes};
