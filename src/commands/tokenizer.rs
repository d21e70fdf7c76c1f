//! `train tokenizer train|inspect`: a tokenizer by itself.

use std::path::Path;

use serde_json::{Value, json};

use super::print::{print, print_json};
use crate::cli::{TokenizerInspectArgs, TokenizerTrainArgs};
use crate::data::{Advice, Corpus, CorpusConfig, Remarks};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::progress::Progress;
use crate::run_dir::run_around;
use crate::runs::fetch;
use crate::tokenizer::{Tokenizer, TokenizerConfig};

/// Trains on all documents of a corpus and writes tokenizer.json.
///
/// Errors: as reading a corpus; the file is there (73).
pub fn train(args: &TokenizerTrainArgs, json: bool, progress: &Progress) -> Result<()> {
    let (train, advice) = (args.data.clone(), Advice::None);
    let data = CorpusConfig { train, validation_fraction: 0.0, advice, ..CorpusConfig::default() };
    let config = TokenizerConfig {
        path: String::new(),
        vocab_size: args.vocab_size,
        min_frequency: args.min_frequency,
        single_digits: args.single_digits,
    };
    let output = &args.output;
    config.check()?;
    if output.exists() && !args.overwrite {
        let why = format!("{} exists; use --overwrite or another --output", output.display());
        return Err(Error::new(ErrorKind::Output, why));
    }
    if output.exists() && Tokenizer::load(output).is_err() {
        let why = format!("{} is no tokenizer; choose another --output", output.display());
        return Err(Error::new(ErrorKind::Output, why));
    }
    if let Some(run) = run_around(output)? {
        let why = format!("{} belongs to the run in {}", output.display(), run.display());
        return Err(Error::new(ErrorKind::Output, format!("{why}; choose another --output")));
    }
    let corpus = Corpus::open(&data)?;
    corpus.warn(&Remarks::default(), progress);
    let tokenizer = crate::data::train_tokenizer(&corpus, &config, progress)?;
    files::write_atomic(output, tokenizer.json())?;
    let vocab_size = tokenizer.vocab_size();
    progress.note(format!("{vocab_size} tokens, written to {}", output.display()));
    match json {
        true => print_json(
            &json!({"path": output.display().to_string(), "vocab_size": vocab_size, "sha256": tokenizer.sha256()}),
        ),
        false => Ok(()),
    }
}

/// Tokens of a text shown in full.
const SHOWN_TOKENS: usize = 50;

/// Says how a tokenizer cuts a text and how well it compresses it, beside another one where `against` names it.
pub fn inspect(args: &TokenizerInspectArgs, json: bool, progress: &Progress) -> Result<()> {
    let (path, against) = (&args.path, args.against.as_ref());
    let text = match (&args.text, &args.data) {
        (Some(text), _) => text.clone(),
        (None, Some(data)) => files::read_text(&fetch::local(data, progress)?)?,
        (None, None) => String::new(),
    };
    let one = Cut::of(path, &text, progress)?;
    let other = against.map(|path| Cut::of(path, &text, progress)).transpose()?;
    if json {
        let mut results = one.json();
        if let (Some(other), Some(results)) = (&other, results.as_object_mut()) {
            results.insert("against".into(), other.json());
        }
        return print_json(&results);
    }
    let mut lines = one.lines();
    if let Some(other) = other {
        lines.push_str(&format!("against {}: {}", against.unwrap_or(path).display(), other.lines()));
        if one.bytes > 0 {
            let share = 100.0 * one.ids.len() as f64 / other.ids.len().max(1) as f64;
            lines.push_str(&format!("{share:.1} % of the tokens of the other\n"));
        }
    }
    print(&lines)
}

/// A text cut by one tokenizer.
struct Cut {
    tokenizer: Tokenizer,
    ids: Vec<u32>,
    bytes: usize,
}

impl Cut {
    fn of(path: &Path, text: &str, progress: &Progress) -> Result<Self> {
        let tokenizer = fetch::tokenizer(path, progress)?;
        let ids = tokenizer.encode(text)?;
        Ok(Self { tokenizer, ids, bytes: text.len() })
    }

    fn bytes_per_token(&self) -> f64 {
        self.bytes as f64 / self.ids.len().max(1) as f64
    }

    fn tokens(&self) -> Vec<String> {
        self.ids.iter().take(SHOWN_TOKENS).map(|id| self.tokenizer.token(*id)).collect()
    }

    fn json(&self) -> Value {
        json!({
            "vocab_size": self.tokenizer.vocab_size(), "sha256": self.tokenizer.sha256(), "tokens": self.ids.len(),
            "bytes": self.bytes, "bytes_per_token": self.bytes_per_token(), "first_tokens": self.tokens(),
        })
    }

    fn lines(&self) -> String {
        let (vocabulary, sha256) = (self.tokenizer.vocab_size(), &self.tokenizer.sha256()[..12]);
        let mut lines = format!("vocabulary {vocabulary}, sha256 {sha256}\n");
        if self.bytes > 0 {
            let (bytes, count) = (self.bytes, self.ids.len());
            let each = self.bytes_per_token();
            lines.push_str(&format!("{bytes} bytes, {count} tokens, {each:.2} bytes per token\n"));
            lines.push_str(&format!("{}\n", self.tokens().join(" ")));
        }
        lines
    }
}
