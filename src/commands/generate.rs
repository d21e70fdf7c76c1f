//! `train generate`: continues a prompt, shown as it grows.

use std::path::Path;

use serde_json::json;

use super::print;
use crate::device;
use crate::error::{Error, Result};
use crate::generate::{Generator, Sampling};
use crate::hf_folder;
use crate::model::LanguageModel;
use crate::progress::Progress;
use crate::runs::fetch;

/// Continues `prompt` with the model at `path`; with `json`, one object at the end.
///
/// Errors: no model there (66), a classifier (65).
pub fn run(
    path: &Path,
    prompt: &str,
    sampling: &Sampling,
    seed: u64,
    (device, json): (&str, bool),
    progress: &Progress,
) -> Result<()> {
    sampling.check()?;
    let path = &fetch::local(path, progress)?;
    let device = device::open(device, progress)?;
    let folder = hf_folder::load(&hf_folder::locate(path)?)?;
    if !folder.label_names.is_empty() {
        let why = "it is a classifier and writes no text; name a pre-trained run";
        return Err(Error::data(format!("{}: {why}", path.display())));
    }
    let model = LanguageModel::new(&folder.config, &folder.weights_on(&device)?)?;
    if !json {
        print(prompt)?;
    }
    let generator = Generator { model: &model, tokenizer: &folder.tokenizer };
    let continuation =
        generator.text(prompt, sampling, seed, |new| if json { Ok(()) } else { print(new) })?;
    if json {
        let results = json!({"prompt": prompt, "continuation": continuation, "seed": seed});
        return print(&format!("{results}\n"));
    }
    print("\n")
}
