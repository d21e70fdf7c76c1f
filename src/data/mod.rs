//! From files to batches: corpus and token file for language modelling, labelled rows for classification.
//!
//! Layer 2. It never sees the model; batches are plain host memory.

mod audit;
mod batch;
mod cache;
mod corpus;
pub mod demo;
mod examples;
mod grouped_split;
mod labelled;
mod language;
mod near;
mod sampler;
mod split;
mod table;
mod text;
mod token_file;

pub use audit::{Audit, AuditPart, CORPUS, Overlaps, audit};
pub use batch::Batch;
pub use corpus::{Corpus, CorpusConfig, DocumentBoundary, Remarks};
pub use examples::Examples;
pub use grouped_split::{GroupedSplit, grouped_split};
pub use labelled::{Example, Labelled, LabelledConfig, read_labelled, read_texts};
pub use language::{LanguageData, TokenizedCorpus, for_each_batch, tokenize, train_tokenizer};
pub use near::Kind;
pub use sampler::{RowSampler, WindowSampler};
pub use split::{LabelledSplit, label_budget};
pub use table::RowFormat;
pub use token_file::{TokenCounts, TokenFile, TokenKey, TokenWriter};
