//! A fine-tuned model ready to be asked.

use std::path::Path;

use candle_core::Device;
use serde_json::{Map, json};

use crate::config::FinetuneConfig;
use crate::data::{Example, Examples};
use crate::device;
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::hf_folder::{self, HfFolder};
use crate::metrics::{Scores, predict_label};
use crate::model::Classifier;
use crate::progress::Progress;
use crate::results::FinetuneResults;
use crate::run_dir::{model_folder, read_json};
use crate::trainer::probabilities;

/// A fine-tuned model ready to be asked.
pub struct Predictor {
    /// Model, tokenizer, label names.
    pub folder: HfFolder,
    /// The config it was trained with.
    pub config: FinetuneConfig,
    /// Label that the threshold is about.
    pub positive: usize,
    /// Scores on validation, as stored; a model folder has none.
    pub validation: Option<Scores>,
    /// Chosen on validation; none with more than two labels.
    pub threshold: Option<f64>,
    model: Classifier,
    device: Device,
}

impl Predictor {
    /// Opens the finished run or Hugging Face classifier at `path`.
    ///
    /// Errors: nothing there (66), not a classifier (65).
    pub fn open(path: &Path, device: &str, progress: &Progress) -> Result<Self> {
        let device = device::open(device, progress)?;
        let folder = hf_folder::locate(path)?;
        if folder == path && !path.join("results.json").exists() {
            return Self::of_folder(&folder, device);
        }
        let results: FinetuneResults = read_json(path, "results.json").map_err(|cause| {
            if cause.kind != ErrorKind::BadData {
                return cause;
            }
            let why = "not a fine-tuned run; predict and evaluate --data want one with labels";
            Error::data(format!("{}: {why}", path.display()))
        })?;
        let config = stored_config(path)?;
        let folder = hf_folder::load(&model_folder(path))?;
        let model = Classifier::new(&folder.config, &folder.weights_on(&device)?, config.classifier.pooling)?;
        let positive = results.positive;
        let positive = folder.label_names.iter().position(|name| *name == positive).unwrap_or(0);
        let threshold = results.scores.validation.threshold;
        let validation = Some(results.scores.validation);
        Ok(Self { config, positive, validation, threshold, model, folder, device })
    }

    /// A classifier without a run: with two labels the second is called from a probability of one half on.
    fn of_folder(path: &Path, device: Device) -> Result<Self> {
        let folder = hf_folder::load(path)?;
        if folder.label_names.len() < 2 {
            let why = "it is no classifier; predict and evaluate --data want a model with labels";
            return Err(Error::data(format!("{}: {why}", path.display())));
        }
        let mut config = FinetuneConfig::default();
        config.train.seq_len = folder.max_tokens;
        let model = Classifier::new(&folder.config, &folder.weights_on(&device)?, folder.pooling)?;
        let threshold = (folder.label_names.len() == 2).then_some(0.5);
        Ok(Self { config, positive: 1, validation: None, threshold, model, folder, device })
    }

    /// Class probabilities of each text.
    pub fn probabilities(&self, texts: &[String], progress: &Progress) -> Result<Vec<Vec<f64>>> {
        let row = |text: &String| Example { text: text.clone(), label: 0, line: 0 };
        let rows: Vec<Example> = texts.iter().map(row).collect();
        let examples = Examples::encode(&self.folder.tokenizer, &rows, self.config.train.seq_len)?;
        probabilities(&self.model, &examples, self.config.train.micro_batch_size, &self.device, progress)
    }

    /// One JSON line.
    pub fn line(&self, text: &str, probabilities: &[f64]) -> String {
        let names = &self.folder.label_names;
        let label = predict_label(probabilities, self.positive, self.threshold);
        let all: Map<_, _> =
            names.iter().zip(probabilities).map(|(name, p)| (name.clone(), json!(p))).collect();
        let line = json!({
            "text": text,
            "label": names[label],
            "probability": probabilities[label],
            "probabilities": all,
            "threshold": self.threshold,
        });
        format!("{line}\n")
    }
}

/// The resolved config in the run directory.
fn stored_config(path: &Path) -> Result<FinetuneConfig> {
    let file = path.join("config.toml");
    let text = files::read_text(&file)?;
    toml::from_str(&text).map_err(|cause| Error::data(format!("{}: {}", file.display(), cause.message())))
}
