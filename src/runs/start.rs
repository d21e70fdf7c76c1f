//! Where weights start: random, or a model on disk.

use std::path::Path;

use candle_core::Device;

use super::changes;
use crate::config::SCRATCH;
use crate::error::{Error, Result};
use crate::hf_folder::{self, HfFolder};
use crate::model::{ModelConfig, ParamSpec, Params, is_classification_head};
use crate::tensor_file;

/// The value of `init_from`, resolved.
pub enum Start {
    /// Seeded random weights.
    Scratch,
    /// A run directory or Hugging Face folder.
    Pretrained(Box<HfFolder>),
}

impl Start {
    /// Errors: as `hf_folder::locate` and `load`; a Hub name (2).
    pub fn open(init_from: &str) -> Result<Self> {
        if init_from == SCRATCH {
            return Ok(Self::Scratch);
        }
        if init_from.contains("://") {
            let why = "models come from local folders and from hf://OWNER/NAME";
            return Err(Error::usage(format!("init_from '{init_from}': {why}; download the model first")));
        }
        let folder = hf_folder::locate(Path::new(init_from))?;
        Ok(Self::Pretrained(Box::new(hf_folder::load(&folder)?)))
    }

    /// SHA-256 over the weights, or `scratch`.
    pub fn sha256(&self) -> Result<String> {
        match self {
            Self::Scratch => Ok(SCRATCH.into()),
            Self::Pretrained(folder) => tensor_file::sha256(&folder.weights),
        }
    }

    /// The sizes to build: the pre-trained model's own, or `asked` with the tokenizer's vocabulary.
    ///
    /// Errors: `asked` differs from the pre-trained model, by key, or has too few embeddings (2).
    pub fn model_config(&self, asked: Option<&ModelConfig>, vocab_size: usize) -> Result<ModelConfig> {
        match (self, asked) {
            (Self::Pretrained(folder), None) => Ok(folder.config.clone()),
            (Self::Pretrained(folder), Some(asked)) => {
                let rows =
                    if asked.vocab_size() == 0 { folder.config.vocab_size() } else { asked.vocab_size() };
                let asked = asked.with_vocab_size(rows);
                if asked == folder.config {
                    return Ok(asked);
                }
                let changed = changes::changes(&folder.config, &asked)?;
                let changes: Vec<String> = changed.iter().map(|change| format!("model.{change}")).collect();
                let why = format!("[model] is not that of the pre-trained model: {}", changes.join(", "));
                Err(Error::usage(format!("{why}; remove [model] to take the pre-trained sizes")))
            }
            (Self::Scratch, asked) => {
                let asked = asked.cloned().unwrap_or_default();
                match asked.vocab_size() {
                    0 => Ok(asked.with_vocab_size(vocab_size)),
                    rows if rows < vocab_size => Err(Error::usage(format!(
                        "model.vocab_size is {rows}, the tokenizer has {vocab_size} ids; set it to 0"
                    ))),
                    _ => Ok(asked),
                }
            }
        }
    }

    /// The parameters. Every tensor is drawn first and overwritten by the pre-trained one of its name, so a new
    /// head is the same in both arms of a comparison.
    pub fn params(self, specs: &[ParamSpec], seed: u64, device: &Device) -> Result<Params> {
        let params = Params::init(specs, seed, device)?;
        if let Self::Pretrained(folder) = self {
            let wanted =
                |name: &str| !is_classification_head(name) && specs.iter().any(|spec| spec.name == name);
            params.assign(&folder.weights.into_iter().filter(|(name, _)| wanted(name)).collect())?;
        }
        Ok(params)
    }
}
