//! `train evaluate`: a finished run on other data: all scores on labelled rows, or the loss on raw text.

use std::path::Path;

use serde_json::json;

use super::{check_gates, print};
use crate::config::PretrainConfig;
use crate::data::{DocumentBoundary, LabelledConfig, read_labelled, text_windows};
use crate::device;
use crate::error::{Error, Result};
use crate::files;
use crate::hf_folder;
use crate::metrics::{Scores, Threshold, Verdict};
use crate::model::LanguageModel;
use crate::progress::Progress;
use crate::report::{self, Style};
use crate::runs::classifier::Predictor;
use crate::runs::fetch;
use crate::trainer::language_scores;

/// Flags of the command.
#[derive(Clone)]
pub struct EvaluateOptions<'a> {
    /// File to evaluate on.
    pub data: &'a Path,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: &'a str,
    /// Column names other than those of the run.
    pub columns: (Option<String>, Option<String>),
    /// `name=value`.
    pub gates: &'a [String],
    /// Print one JSON object.
    pub json: bool,
}

/// Evaluates the run at `path`; what kind of run it is decides what is measured.
pub fn run(path: &Path, options: &EvaluateOptions<'_>, progress: &Progress) -> Result<()> {
    options.gates.iter().try_for_each(|text| super::gate(text).map(drop))?;
    let path = &fetch::local(path, progress)?;
    let options = &EvaluateOptions { data: &fetch::local(options.data, progress)?, ..options.clone() };
    let folder = hf_folder::load(&hf_folder::locate(path)?)?;
    if folder.label_names.is_empty() {
        return language(path, folder, options, progress);
    }
    let predictor = Predictor::open(path, options.device, progress)?;
    let stored = &predictor.config.data;
    let columns = LabelledConfig {
        text_column: options.columns.0.clone().unwrap_or_else(|| stored.text_column.clone()),
        label_column: options.columns.1.clone().unwrap_or_else(|| stored.label_column.clone()),
        ..stored.clone()
    };
    let names = &predictor.folder.label_names;
    let rows = read_labelled(options.data, &columns, Some(names))?;
    let texts: Vec<String> = rows.examples.iter().map(|row| row.text.clone()).collect();
    let labels: Vec<u32> = rows.examples.iter().map(|row| row.label).collect();
    let probabilities = predictor.probabilities(&texts, progress)?;
    let threshold = Threshold::Fixed(predictor.threshold.unwrap_or(0.5));
    let seed = Some(predictor.config.seed);
    let scores = Scores::compute(&labels, &probabilities, names, predictor.positive, threshold, seed)?;
    let verdict = Verdict::judge(&scores, None);
    if options.json {
        let results = json!({
            "phase": "evaluate",
            "init_from": path,
            "data": options.data,
            "validation": predictor.validation,
            "test": scores,
            "per_class": scores.per_class,
            "verdict": verdict,
        });
        print(&format!("{results}\n"))?;
    } else {
        print(&report::evaluated(&scores, &verdict).text(Style::Terminal))?;
    }
    let scores = json!(scores);
    check_gates(options.gates, |name| scores[name].as_f64())
}

fn language(
    path: &Path,
    folder: hf_folder::HfFolder,
    options: &EvaluateOptions<'_>,
    progress: &Progress,
) -> Result<()> {
    if let Some(gate) = options.gates.first() {
        return Err(Error::usage(format!("--fail-under {gate}: a language model has no such score")));
    }
    let device = device::open(options.device, progress)?;
    let config_file = path.join("config.toml");
    let (seq_len, document, rows) = if config_file.exists() {
        let text = files::read_text(&config_file)?;
        let config: PretrainConfig = toml::from_str(&text)
            .map_err(|cause| Error::data(format!("{}: {}", config_file.display(), cause.message())))?;
        (config.train.seq_len, config.data.document, config.train.micro_batch_size)
    } else {
        (folder.config.max_position_embeddings().min(512), DocumentBoundary::BlankLine, 8)
    };
    let model = LanguageModel::new(&folder.config, &folder.weights_on(&device)?)?;
    let batches = text_windows(options.data, document, &folder.tokenizer, seq_len, rows)?;
    let bytes = folder.tokenizer.token_bytes();
    let scores = language_scores(&model, batches.into_iter(), &bytes, &device, progress)?;
    let results = json!({
        "phase": "evaluate",
        "data": options.data,
        "val_loss": scores.val_loss,
        "val_perplexity": scores.val_perplexity,
        "val_bits_per_byte": scores.val_bits_per_byte,
    });
    if options.json {
        print(&format!("{results}\n"))?;
    } else {
        print(&format!(
            "loss {:.4} nats per token, perplexity {:.2}, {:.3} bits per byte\n",
            scores.val_loss, scores.val_perplexity, scores.val_bits_per_byte
        ))?;
    }
    Ok(())
}
