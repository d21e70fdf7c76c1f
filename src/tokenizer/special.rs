//! Special tokens: which there are by their part, and those that are put around a text.

use std::path::Path;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::files;

/// Special tokens by their part, as tokenizer_config.json names them.
#[derive(Default)]
pub(super) struct Names {
    pub bos_token: Option<String>,
    pub eos_token: Option<String>,
    pub pad_token: Option<String>,
}

impl Names {
    /// Errors: the file is there and no JSON object (65).
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("tokenizer_config.json");
        if !path.exists() {
            return Ok(Self::default());
        }
        let keys: Value = serde_json::from_slice(&files::read(&path)?)
            .map_err(|cause| Error::data(format!("{}: not JSON: {cause}", path.display())))?;
        // Older writers store an object with the token under "content".
        let name = |key: &str| {
            let value = keys[key].as_str().or_else(|| keys[key]["content"].as_str());
            value.map(str::to_string)
        };
        Ok(Self { bos_token: name("bos_token"), eos_token: name("eos_token"), pad_token: name("pad_token") })
    }
}

/// A post-processor that puts these tokens before and after each text.
pub(super) fn around(begin: Option<(String, u32)>, end: Option<(String, u32)>) -> Value {
    let mark = |token: &Option<(String, u32)>, type_id: u32| {
        token
            .iter()
            .map(|(name, _)| json!({"SpecialToken": {"id": name, "type_id": type_id}}))
            .collect::<Vec<_>>()
    };
    let marked = |id: &str, type_id: u32| {
        let text = json!({"Sequence": {"id": id, "type_id": type_id}});
        [mark(&begin, type_id), vec![text], mark(&end, type_id)].concat()
    };
    let described =
        |(name, id): &(String, u32)| (name.clone(), json!({"id": name, "ids": [id], "tokens": [name]}));
    let special: serde_json::Map<_, _> = begin.iter().chain(&end).map(described).collect();
    let pair = [marked("A", 0), marked("B", 1)].concat();
    json!({
        "type": "TemplateProcessing", "single": marked("A", 0), "pair": pair, "special_tokens": special,
    })
}
