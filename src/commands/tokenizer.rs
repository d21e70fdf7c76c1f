//! `train tokenizer train|inspect`: a tokenizer by itself.

use std::path::Path;

use serde_json::json;

use super::print;
use crate::data::{Corpus, CorpusConfig};
use crate::error::{Error, Exit, Result};
use crate::files;
use crate::progress::Progress;
use crate::tokenizer::{Tokenizer, TokenizerConfig};

/// Trains on the training part of a corpus and writes tokenizer.json to `output`.
pub fn train(
    data: &CorpusConfig,
    config: &TokenizerConfig,
    output: &Path,
    overwrite: bool,
    progress: &Progress,
) -> Result<()> {
    data.check()?;
    config.check()?;
    if output.exists() && !overwrite {
        let why = format!("{} exists; use --overwrite or another --output", output.display());
        return Err(Error::new(Exit::Output, why));
    }
    let corpus = Corpus::open(data)?;
    let tokenizer = crate::data::train_tokenizer(&corpus, config, progress)?;
    files::write_atomic(output, tokenizer.json())?;
    progress.note(format!("{} tokens, written to {}", tokenizer.vocab_size(), output.display()));
    Ok(())
}

/// Says how a tokenizer cuts a text, and how well it compresses it.
pub fn inspect(path: &Path, text: Option<&str>, data: Option<&Path>, json: bool) -> Result<()> {
    let path = if path.is_dir() { &crate::hf_folder::locate(path)? } else { path };
    let tokenizer = Tokenizer::load(path)?;
    let text = match (text, data) {
        (Some(text), _) => text.to_string(),
        (None, Some(data)) => String::from_utf8(files::read(data)?)
            .map_err(|cause| Error::data(format!("{}: not UTF-8 text: {cause}", data.display())))?,
        (None, None) => String::new(),
    };
    let ids = tokenizer.encode(&text)?;
    let bytes_per_token = text.len() as f64 / ids.len().max(1) as f64;
    let tokens: Vec<String> = ids.iter().take(50).map(|id| tokenizer.token(*id)).collect();
    if json {
        let results = json!({
            "vocab_size": tokenizer.vocab_size(), "sha256": tokenizer.sha256(), "tokens": ids.len(),
            "bytes": text.len(), "bytes_per_token": bytes_per_token, "first_tokens": tokens,
        });
        return print(&format!("{results}\n"));
    }
    let mut lines = format!("vocabulary {}, sha256 {}\n", tokenizer.vocab_size(), &tokenizer.sha256()[..12]);
    if !ids.is_empty() {
        let (bytes, count) = (text.len(), ids.len());
        lines.push_str(&format!("{bytes} bytes, {count} tokens, {bytes_per_token:.2} bytes per token\n"));
        lines.push_str(&format!("{}\n", tokens.join(" ")));
    }
    print(&lines)
}
