//! A finished language model, ready to continue texts.

use std::path::{Path, PathBuf};

use candle_core::Device;

use super::{Context, fetch, stored};
use crate::config::PretrainConfig;
use crate::data::{CorpusConfig, for_each_batch};
use crate::error::{Error, Result};
use crate::generate::{Generator, Sampling};
use crate::hf_folder::{self, HfFolder};
use crate::metrics::LanguageScores;
use crate::model;
use crate::ops;
use crate::progress::Progress;
use crate::tokenizer::Tokenizer;
use crate::trainer::LanguageSums;

/// A pre-trained model with its tokenizer.
pub struct LanguageModel {
    network: model::LanguageModel,
    tokenizer: Tokenizer,
    /// Where it was loaded from; its config says how raw text is read.
    path: PathBuf,
    /// Longest sequence, tokens.
    longest: usize,
    device: Device,
    progress: Progress,
}

impl LanguageModel {
    /// Loads a finished run or a Hugging Face folder, or fetches `hf://OWNER/NAME`, without a word.
    ///
    /// Errors: nothing there (66), a classifier (65).
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::load_with(path, &Context::quiet())
    }

    /// As [`LanguageModel::load`], on the device of `context` and heard by its observer.
    pub fn load_with(path: impl AsRef<Path>, context: &Context) -> Result<Self> {
        let path = &fetch::local(path.as_ref(), &context.progress)?;
        Self::of(path, hf_folder::load(&hf_folder::locate(path)?)?, context)
    }

    /// The language model at `path`, whose model is in memory.
    pub(super) fn of(path: &Path, folder: HfFolder, context: &Context) -> Result<Self> {
        if !folder.label_names.is_empty() {
            let why = "it is a classifier and writes no text; name a pre-trained run";
            return Err(Error::data(format!("{}: {why}", path.display())));
        }
        if folder.config.is_encoder() {
            let why = "it is an encoder, which writes no text; fine-tune it to label texts";
            return Err(Error::data(format!("{}: {why}", path.display())));
        }
        let (device, progress) = (context.open_device("auto")?, context.progress.clone());
        ops::allow_tf32(false);
        let network = model::LanguageModel::new(&folder.config, &folder.weights_on(&device)?)?;
        let longest = folder.config.max_position_embeddings();
        Ok(Self { path: path.into(), longest, network, tokenizer: folder.tokenizer, device, progress })
    }

    /// What follows `prompt`; an empty prompt starts a text. Same seed, same text on the CPU.
    ///
    /// Errors: a setting of `sampling` outside its range.
    pub fn generate(&self, prompt: &str, sampling: &Sampling, seed: u64) -> Result<String> {
        self.stream(prompt, sampling, seed, |_| Ok(()))
    }

    /// As [`LanguageModel::generate`], with each new piece of text also handed to `show` as it comes.
    ///
    /// Errors: what `show` says, which ends the text.
    pub fn stream(
        &self,
        prompt: &str,
        sampling: &Sampling,
        seed: u64,
        show: impl FnMut(&str) -> Result<()>,
    ) -> Result<String> {
        sampling.check()?;
        let generator = Generator { model: &self.network, tokenizer: &self.tokenizer };
        if let Some(limit) = generator.limit(prompt, sampling)? {
            self.progress.warn(limit);
        }
        generator.text(prompt, sampling, seed, show).map_err(stored::damaged)
    }

    /// How the run read its text; a model folder has the defaults.
    ///
    /// Errors: the run's config is damaged (65).
    pub fn data(&self) -> Result<CorpusConfig> {
        Ok(self.config()?.data)
    }

    /// Loss on the raw text in the file `path`, read as `data` says.
    ///
    /// Errors: as reading a corpus.
    pub fn evaluate(&self, path: &Path, data: &CorpusConfig) -> Result<LanguageScores> {
        let train = vec![path.display().to_string()];
        let data = CorpusConfig { train, validation: Vec::new(), ..data.clone() };
        let PretrainConfig { train, .. } = self.config()?;
        let (seq_len, rows) = (train.seq_len, train.micro_batch_size);
        let of_id = self.tokenizer.token_bytes();
        let mut sums = LanguageSums::new(&self.network, &self.device);
        let bar = self.progress.bar("evaluating", 0);
        let mut batches = 0;
        let bytes = for_each_batch(&data, &self.tokenizer, seq_len, rows, |batch| {
            sums.add(&batch, &of_id)?;
            batches += 1;
            bar.advance_to(batches, || format!("loss {:.3}", sums.mean()));
            Ok(())
        })?;
        sums.scores(bytes).map_err(stored::damaged)
    }

    /// That of the run, or for a model folder defaults that fit it.
    fn config(&self) -> Result<PretrainConfig> {
        if self.path.join("config.toml").exists() {
            return stored::config(&self.path);
        }
        let mut config = PretrainConfig::default();
        (config.train.seq_len, config.train.micro_batch_size) = (self.longest.min(512), 8);
        Ok(config)
    }
}
