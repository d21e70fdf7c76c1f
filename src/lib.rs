//! `train`: pre-trains a tiny transformer on raw text, fine-tunes it as a text classifier and compares
//! pre-trained with from-scratch runs.
//!
//! A language model learns from text without labels; a classifier that starts from it needs fewer labels. What the
//! program `train` does, a Rust program can call and get values back:
//!
//! ```no_run
//! use train::{Context, FinetuneConfig, PretrainConfig, finetune, pretrain};
//!
//! # fn main() -> train::Result<()> {
//! let context = Context::quiet();
//! let model = pretrain(&PretrainConfig::on("my/texts"), &context)?;
//! let spam = finetune(&FinetuneConfig::from(&model).on("my/labels.csv"), &context)?;
//! println!("F1 {:.3} on the test rows", spam.results.scores.test.f1);
//! for prediction in spam.classifier()?.predict(["Your parcel is waiting"])? {
//!     println!("{} {:.3}", prediction.label, prediction.probability);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Each run leaves a directory, from which [`Classifier::load`] and [`LanguageModel::load`] take its model later. A
//! [`Context`] says who hears how the work goes and what happens to a run that is there already; by default nobody
//! hears anything, and nothing is replaced. [`compare`] tells whether pre-training helped, seed by seed.
//!
//! The modules in the order a batch meets them; each uses only those above it (a test holds the rule).
//! Shape letters everywhere: B batch, T sequence, C hidden, H query heads, K key-value heads, D head width,
//! I MLP inner width, V vocabulary, L layers, N = B * T rows.

// Layer 0: no knowledge of tensors or text.
mod error;
mod files;
pub mod metrics;
mod process;
mod progress;
mod ranges;
pub mod results;
mod rng;
mod run_dir;
mod signals;
mod tensorboard;

// Layer 1: text to ids, tensors on disk, operations with gradients.
mod baseline;
mod device;
mod hub;
pub mod ops;
mod tensor_file;
pub mod tokenizer;

// Layer 2: batches and models, which do not know each other.
pub mod data;
pub mod model;

// Layer 3: from logits to text, from gradients to parameters.
pub mod generate;
pub mod optim;

// Layer 4: models and runs on disk.
mod checkpoint;
mod hf_folder;

// Layer 5: the loop.
pub mod trainer;

// Layer 6: all settings; from predictions to statistics and findings.
mod analysis;
pub mod config;

// Layer 7: tables and pages.
mod report;

// Layer 8: runs from config to finished directory; the arguments.
mod cli;
mod runs;

// Layer 9: the commands.
mod commands;

pub use config::{CompareConfig, FinetuneConfig, PretrainConfig};
pub use device::Precision;
pub use error::{Error, ErrorKind, Result};
pub use generate::Sampling;
pub use metrics::{Scores, Verdict};
pub use process::keep_freed_memory;
pub use progress::{Level, Observer, Progress, Terminal, Work};
pub use report::{Style, Table};
pub use results::{
    CompareResults, Comparison, FinetuneResults, Finetuned, Predictions, PretrainResults, Pretrained,
};
pub use run_dir::{Existing, Manifest, Status};
pub use runs::{Classifier, Context, Evaluation, LanguageModel, Prediction, compare, finetune, pretrain};
pub use signals::catch_signals;

/// What the program, the tests and the benchmarks of this repository use beside the library. It may change at any time.
#[doc(hidden)]
pub mod internals {
    pub use crate::commands::{exit_code, main};
    pub use crate::files::{hex, sha256};
    pub use crate::process::{Allocator, peak_memory_bytes, silence_panics};
    pub use crate::rng::stream;

    /// Checkpoints.
    pub mod checkpoint {
        pub use crate::checkpoint::Checkpoint;
    }
    /// Where work is done.
    pub mod device {
        pub use crate::device::{open, peak_gpu_bytes};
    }
    /// Models on disk.
    pub mod hf_folder {
        pub use crate::hf_folder::{HfFolder, Quantization, load, locate, read_config, write_gguf};
    }
    /// Names on the Hub.
    pub mod hub {
        pub use crate::hub::Name;
    }
    /// Tensors on disk.
    pub mod tensor_file {
        pub use crate::tensor_file::{check_shapes, read, read_some, write};
    }
}
