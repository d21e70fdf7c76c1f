//! From files to batches: corpus and token file for language modelling, labelled rows for classification.
//!
//! Layer 2. It never sees the model; batches are plain host memory.

mod advice;
mod audit;
mod batch;
mod cache;
mod corpus;
pub mod demo;
mod examples;
mod folds;
mod grouped_split;
mod label_column;
mod labelled;
mod language;
mod near;
mod sampler;
mod spelling;
mod split;
mod table;
mod text;
mod texts;
mod token_file;

pub use advice::Advice;
pub use audit::{Audit, AuditPart, CORPUS, Closest, Overlaps, audit};
pub use batch::Batch;
pub use corpus::{Corpus, CorpusConfig, DocumentBoundary, Remarks, files_named};
pub use examples::{Examples, Extent, TEXTS_AT_ONCE};
pub use grouped_split::{GroupedSplit, grouped_split};
pub use labelled::{Example, Labelled, LabelledConfig, read_labelled};
pub use language::{LanguageData, TokenizedCorpus, for_each_batch, tokenize, train_tokenizer};
pub use near::Kind;
pub use sampler::{RowSampler, WindowSampler};
pub use split::{LabelledSplit, label_budget};
pub use table::RowFormat;
pub use texts::{TextSource, for_each_labelled_text, for_each_text, read_labels, read_texts};
pub use token_file::{TokenCounts, TokenFile, TokenKey, TokenWriter};
