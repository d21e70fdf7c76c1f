//! A finished classifier, ready to be asked.

use std::path::{Component, Path};

use candle_core::Device;

use super::beside::Beside;
use super::{Context, fetch, stored};
use crate::config::FinetuneConfig;
use crate::data::{Examples, Extent, LabelledConfig, TEXTS_AT_ONCE, for_each_labelled_text, read_labels};
use crate::error::{Error, Result};
use crate::hf_folder::{self, HfFolder};
use crate::metrics::{Scores, Threshold, Verdict, predict_label};
use crate::model;
use crate::ops;
use crate::progress::Progress;
use crate::results::{BaselineResults, FinetuneResults};
use crate::run_dir::read_json;
use crate::tokenizer::Tokenizer;
use crate::trainer::probabilities;

/// A fine-tuned model with its tokenizer, labels and threshold.
pub struct Classifier {
    network: model::Classifier,
    /// What answers beside it.
    beside: Option<Beside>,
    tokenizer: Tokenizer,
    label_names: Vec<String>,
    /// How much of a text it reads.
    extent: Extent,
    config: FinetuneConfig,
    positive: usize,
    threshold: Option<f64>,
    validation: Option<Scores>,
    device: Device,
    progress: Progress,
}

/// What a classifier says about a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The label it gives: by threshold with two labels, else the likeliest.
    pub label: String,
    /// Probability of that label.
    pub probability: f64,
    /// Each label with its probability, in label order.
    pub probabilities: Vec<(String, f64)>,
    /// From this probability of the positive label on it is given; none with more than two labels.
    pub threshold: Option<f64>,
    /// The text was longer than the model reads, and its end was not looked at.
    pub truncated: bool,
}

/// How a classifier did on labelled rows.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Scores at the classifier's own threshold.
    pub scores: Scores,
    /// Plain words.
    pub verdict: Verdict,
}

impl Classifier {
    /// Loads a finished run or a Hugging Face folder, or fetches `hf://OWNER/NAME`, without a word.
    ///
    /// A comparison's row with n-grams can be loaded too, such as `baselines/pretrained_ngrams-all-seed1`.
    /// Errors: nothing there (66), not a classifier (65).
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::load_with(path, &Context::quiet())
    }

    /// As [`Classifier::load`], on the device of `context` and heard by its observer.
    pub fn load_with(path: impl AsRef<Path>, context: &Context) -> Result<Self> {
        let path = &fetch::local(path.as_ref(), &context.progress)?;
        if let Some(combined) = Self::combined(path, context)? {
            return Ok(combined);
        }
        Self::of(path, hf_folder::load(&hf_folder::locate(path)?)?, context)
    }

    /// The classifier at `path`, whose model is in memory.
    pub(super) fn of(path: &Path, folder: HfFolder, context: &Context) -> Result<Self> {
        let is_run = ["run.json", "results.json"].iter().any(|name| path.join(name).exists());
        let run = if is_run { Some((results(path)?, stored::config(path)?)) } else { None };
        if folder.label_names.len() < 2 {
            let why = "it is no classifier; predict and evaluate --data want a model with labels";
            return Err(Error::data(format!("{}: {why}", path.display())));
        }
        let Some((results, config)) = run else {
            // With two labels the second is given from a probability of one half on.
            let config = FinetuneConfig::default();
            return Self::new(folder, config, context);
        };
        let positive = folder.label_names.iter().position(|name| *name == results.positive).unwrap_or(0);
        let read = |exponents| Beside::read(path, folder.label_names.len(), exponents);
        let beside = results.scores.with_ngrams.map(read).transpose()?;
        let (threshold, validation) = (results.scores.validation.threshold, Some(results.scores.validation));
        Ok(Self { positive, threshold, validation, beside, ..Self::new(folder, config, context)? })
    }

    /// The transformer and the n-grams that a comparison has combined at `path`; none where something else is there.
    ///
    /// Errors: what it is made of is missing (66), damaged or was not kept (65).
    pub(super) fn combined(path: &Path, context: &Context) -> Result<Option<Self>> {
        let found = read_json::<BaselineResults>(path, "results.json").ok();
        let Some(results) = found.filter(|results| results.phase == "combined") else { return Ok(None) };
        let Some(parts) = results.parts else {
            let why = "its n-grams were not kept, as those of folds are not";
            return Err(Error::data(format!("{}: {why}; ask the run of its transformer", path.display())));
        };
        // The comparison, in whose folder baselines/ it lies.
        let place = std::fs::canonicalize(path).map_err(|cause| Error::reading(path, &cause))?;
        let comparison = place.ancestors().nth(2).unwrap_or(path);
        let below =
            |name: &str| Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        if !below(&parts.run) || !below(&parts.ngrams) {
            let why = "its results.json names parts outside its comparison";
            return Err(Error::data(format!("{} is damaged: {why}", path.display())));
        }
        let run = comparison.join(parts.run);
        let transformer = Self::of(&run, hf_folder::load(&hf_folder::locate(&run)?)?, context)?;
        let num_labels = transformer.label_names.len();
        let beside = Beside::read(&comparison.join(parts.ngrams), num_labels, parts.exponents)?;
        let positive = transformer.label_names.iter().position(|name| *name == results.positive).unwrap_or(0);
        let (threshold, validation) = (results.validation.threshold, Some(results.validation));
        Ok(Some(Self { positive, threshold, validation, beside: Some(beside), ..transformer }))
    }

    fn new(folder: HfFolder, config: FinetuneConfig, context: &Context) -> Result<Self> {
        let (device, progress) = (context.open_device("auto")?, context.progress.clone());
        ops::allow_tf32(false);
        let weights = folder.weights_on(&device)?;
        let network = model::Classifier::new(&folder.config, &weights, folder.pooling)?;
        let (positive, threshold) = folder.decided();
        let windows = folder.decision.windows.unwrap_or(1);
        let HfFolder { tokenizer, label_names, max_tokens, .. } = folder;
        let extent = Extent { max_tokens, windows };
        let (validation, beside) = (None, None);
        Ok(Self {
            network,
            beside,
            tokenizer,
            label_names,
            extent,
            config,
            positive,
            threshold,
            validation,
            device,
            progress,
        })
    }

    /// Names of the labels.
    pub fn label_names(&self) -> &[String] {
        &self.label_names
    }

    /// Scores on validation, as the run stored them; a model folder has none.
    pub fn validation(&self) -> Option<&Scores> {
        self.validation.as_ref()
    }

    /// How the run found texts and labels in its files.
    pub fn data(&self) -> &LabelledConfig {
        &self.config.data
    }

    /// Labels each text.
    pub fn predict<T: AsRef<str>>(&self, texts: impl IntoIterator<Item = T>) -> Result<Vec<Prediction>> {
        let texts = texts.into_iter().map(|text| text.as_ref().to_string());
        let (examples, beside) = self.encoded(|take| texts.into_iter().try_for_each(take))?;
        let probabilities = self.probabilities(&examples, &beside)?;
        Ok(probabilities.iter().zip(examples.cut()).map(|(row, cut)| self.prediction(row, *cut)).collect())
    }

    /// Scores the labelled file `path`, read as `data` says; its labels are those of the classifier, or their numbers.
    ///
    /// Errors: as reading the file; a label that the classifier does not know (65).
    pub fn evaluate(&self, path: &Path, data: &LabelledConfig) -> Result<Evaluation> {
        let names = &self.label_names;
        let labels = read_labels(path, data, names)?;
        let (examples, beside) =
            self.encoded(|take| for_each_labelled_text(path, data, |text| take(text.into())))?;
        let probabilities = self.probabilities(&examples, &beside)?;
        drop(examples);
        let (threshold, seed) = (Threshold::from(self.threshold), Some(self.config.seed));
        let scores = Scores::compute(&labels, &probabilities, names, self.positive, threshold, seed)?;
        let verdict = Verdict::judge(&scores, None);
        Ok(Evaluation { scores, verdict })
    }

    /// The texts that `read` hands on as ids, and what n-grams say of them; only some of them are in memory as text.
    fn encoded(
        &self,
        read: impl FnOnce(&mut dyn FnMut(String) -> Result<()>) -> Result<()>,
    ) -> Result<(Examples, Vec<Vec<f64>>)> {
        let (mut examples, mut beside, mut texts) = (Examples::default(), Vec::new(), Vec::new());
        let mut encode = |texts: Vec<String>| {
            beside.extend(self.beside.iter().flat_map(|of| of.alone(&texts)));
            examples.extend(&self.tokenizer, &texts, self.extent)
        };
        read(&mut |text| {
            texts.push(text);
            if texts.len() < TEXTS_AT_ONCE { Ok(()) } else { encode(std::mem::take(&mut texts)) }
        })?;
        encode(texts)?;
        Ok((examples, beside))
    }

    /// Probabilities of each label, `beside` those of the n-grams.
    fn probabilities(&self, examples: &Examples, beside: &[Vec<f64>]) -> Result<Vec<Vec<f64>>> {
        let rows = self.config.train.micro_batch_size;
        let found = probabilities(&self.network, examples, rows, &self.device, &self.progress);
        let found = found.map_err(stored::damaged)?;
        Ok(match &self.beside {
            Some(of) => of.exponents.of(&found, beside),
            None => found,
        })
    }

    fn prediction(&self, probabilities: &[f64], truncated: bool) -> Prediction {
        let label = predict_label(probabilities, self.positive, self.threshold);
        Prediction {
            label: self.label_names[label].clone(),
            probability: probabilities[label],
            probabilities: self.label_names.iter().cloned().zip(probabilities.iter().copied()).collect(),
            threshold: self.threshold,
            truncated,
        }
    }
}

/// What the run at `path` found out.
///
/// Errors: missing (66), damaged, or not of a fine-tuning (65).
fn results(path: &Path) -> Result<FinetuneResults> {
    let found: serde_json::Value = read_json(path, "results.json")?;
    if found["phase"] != "finetune" {
        let why = "not a fine-tuned run; predict and evaluate --data want one with labels";
        return Err(Error::data(format!("{}: {why}", path.display())));
    }
    read_json(path, "results.json")
}
