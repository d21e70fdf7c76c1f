//! A finished model of either kind.

use std::path::Path;

use super::classifier::Classifier;
use super::language_model::LanguageModel;
use super::{Context, fetch};
use crate::error::Result;
use crate::hf_folder;

/// A finished model; its weights say which kind it is.
pub enum Model {
    /// It labels texts.
    Classifier(Box<Classifier>),
    /// It continues texts.
    Language(Box<LanguageModel>),
}

impl Model {
    /// Loads a finished run or a Hugging Face folder, or fetches `hf://OWNER/NAME`.
    ///
    /// Errors: nothing there (66), damaged (65).
    pub fn load_with(path: &Path, context: &Context) -> Result<Self> {
        let path = &fetch::local(path, &context.progress)?;
        if let Some(combined) = Classifier::combined(path, context)? {
            return Ok(Self::Classifier(Box::new(combined)));
        }
        let folder = hf_folder::load(&hf_folder::locate(path)?)?;
        if folder.label_names.is_empty() {
            return Ok(Self::Language(Box::new(LanguageModel::of(path, folder, context)?)));
        }
        Ok(Self::Classifier(Box::new(Classifier::of(path, folder, context)?)))
    }
}
