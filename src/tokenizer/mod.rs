//! Byte-level BPE through the `tokenizers` crate: train, load, encode, and the bytes behind each token.
//!
//! Layer 1. The exchange format is Hugging Face tokenizer.json. Training sees the pre-training text alone.

mod byte_level;
pub mod gguf;
mod guard;
mod special;
mod words;

use std::collections::HashSet;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{AddedToken, NormalizedString, PreTokenizerWrapper, TokenizerBuilder};

use self::byte_level::ByteLevelWords;
use self::special::{Names, around};
pub use self::words::WordCounter;
use crate::error::{Error, Result};
use crate::files;
use crate::files::gguf::{Gguf, is_named_gguf};
use crate::run_dir;

/// Ends every document.
pub const END_OF_TEXT: &str = "<|endoftext|>";
/// Fills rows of a batch; never produced by encoding.
pub const PAD: &str = "<|pad|>";

/// `[tokenizer]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TokenizerConfig {
    /// An existing tokenizer.json, a GGUF file, a folder with a tokenizer.json or with GPT-2's vocab.json and merges.txt,
    /// or `hf://OWNER/NAME`; empty trains one on the training text.
    pub path: String,
    /// Size to train to, the two special tokens and 256 bytes included.
    pub vocab_size: usize,
    /// Pairs seen less often are not merged.
    pub min_frequency: u64,
    /// Every digit is a token of its own, so that numbers never seen before look like others of their length.
    pub single_digits: bool,
}

impl Default for TokenizerConfig {
    fn default() -> Self {
        Self { path: String::new(), vocab_size: 4096, min_frequency: 2, single_digits: false }
    }
}

impl TokenizerConfig {
    /// Errors: a vocabulary too small for the bytes or too large for any token file.
    pub fn check(&self) -> Result<()> {
        if self.path.is_empty() && !(258..=guard::MAX_IDS).contains(&self.vocab_size) {
            let range = "lie between 258 (256 bytes and two special tokens) and 1048576";
            return Err(Error::outside("tokenizer.vocab_size", self.vocab_size, range));
        }
        Ok(())
    }
}

/// A tokenizer with what training needs to know about it.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// How it encodes word by word, where it can.
    words: Option<ByteLevelWords>,
    json: Vec<u8>,
    sha256: String,
    begin_of_text: u32,
    end_of_text: u32,
    pad: u32,
    /// Stands for text that is not in the vocabulary.
    unknown: Option<u32>,
    vocab_size: usize,
    byte_level: bool,
}

/// Texts that the library encodes at once: it keeps 100 bytes and more for each token.
const TEXTS_AT_ONCE: usize = 1000;

impl Tokenizer {
    /// Trains a byte-level BPE on `documents`; the same documents in the same order give the same tokenizer.
    ///
    /// Errors: as [`Tokenizer::of_words`].
    pub fn train(documents: impl Iterator<Item = String>, config: &TokenizerConfig) -> Result<Self> {
        let mut words = WordCounter::new(config.single_digits);
        documents.for_each(|document| words.push(document));
        Self::of_words(words, config)
    }

    /// Trains a byte-level BPE on counted words, those of more than 1,000 bytes cut: time grows with the square of the
    /// longest. Of more than 750,000 different words the rarest are left out, which bounds memory.
    ///
    /// Errors: no word at all (65).
    pub fn of_words(words: WordCounter, config: &TokenizerConfig) -> Result<Self> {
        let failed =
            |cause: tokenizers::Error| Error::data(format!("the tokenizer cannot be trained: {cause}"));
        let counts = words.finish();
        if counts.is_empty() {
            return Err(Error::data("there is no text to train a tokenizer on; name files with text"));
        }
        let characters = byte_level::characters();
        let counts = counts
            .into_iter()
            .map(|(word, count)| (byte_level::in_characters(&word, &characters).into(), count));
        let bytes = ByteLevel::new(false, true, true);
        let words: PreTokenizerWrapper = if config.single_digits {
            Sequence::new(vec![Digits::new(true).into(), bytes.into()]).into()
        } else {
            bytes.into()
        };
        let specials = [PAD, END_OF_TEXT].map(|token| AddedToken::from(token, true).special(true));
        let trainer = BpeTrainerBuilder::new()
            .vocab_size(config.vocab_size)
            .min_frequency(config.min_frequency)
            .special_tokens(specials.to_vec())
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect::<HashSet<_>>())
            .show_progress(false)
            .build();
        let mut model = BPE::default();
        trainer.do_train(&counts.collect(), &mut model).map_err(failed)?;
        let mut tokenizer = TokenizerBuilder::new()
            .with_model(model)
            .with_normalizer(None::<tokenizers::NormalizerWrapper>)
            .with_pre_tokenizer(Some(words))
            .with_post_processor(Some(bytes))
            .with_decoder(Some(bytes))
            .build()
            .map_err(failed)?;
        tokenizer.add_special_tokens(specials).map_err(failed)?;
        let json = tokenizer.to_string(false).map_err(failed)?;
        Self::parse(Path::new("the new tokenizer"), json.into_bytes(), &Names::default())
    }

    /// Reads a tokenizer.json, the tokenizer of a GGUF file, or that of a folder or of a finished run: its
    /// tokenizer.json, or vocab.json and merges.txt.
    ///
    /// A tokenizer_config.json beside it says which tokens begin, end and pad a text.
    /// Errors: missing (66), not a tokenizer or without an end-of-text token, a run that has not finished (65).
    pub fn load(path: &Path) -> Result<Self> {
        let path = &run_dir::finished_model(path)?.unwrap_or_else(|| path.into());
        if is_named_gguf(path) {
            return Self::of_gguf(&Gguf::open(path)?);
        }
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
        let file = if path.is_dir() { path.join("tokenizer.json") } else { path.to_path_buf() };
        let names = Names::read(folder)?;
        if path.is_dir() && !file.exists() && path.join("vocab.json").exists() {
            return Self::parse(&path.join("vocab.json"), from_vocab_and_merges(path)?, &names);
        }
        Self::parse(&file, files::read(&file)?, &names)
    }

    /// The tokenizer of a GGUF file.
    ///
    /// Errors: as [`Tokenizer::load`]; a key that asks for another kind of tokenizer (65).
    pub fn of_gguf(file: &Gguf) -> Result<Self> {
        let (json, names) = gguf::described(file)?;
        Self::parse(file.path(), json, &names)
    }

    fn parse(path: &Path, json: Vec<u8>, names: &Names) -> Result<Self> {
        let damaged = |why: String| {
            let hint = "name a tokenizer.json that the tokenizers library saved";
            Error::data(format!("{} is not a usable tokenizer: {why}; {hint}", path.display()))
        };
        guard::check_plan(&json).map_err(damaged)?;
        let inner = guard::caught(|| from_bytes(&json)).map_err(damaged)?.map_err(damaged)?;
        let find = |named: &Option<String>, usual: &[&str]| {
            let named = named.iter().map(String::as_str);
            named.chain(usual.iter().copied()).find_map(|name| inner.token_to_id(name))
        };
        let end_of_text = find(&names.eos_token, &[END_OF_TEXT, "</s>", "<|end_of_text|>", "<eos>", "[SEP]"])
            .ok_or_else(|| damaged(format!("it has no {END_OF_TEXT} token")))?;
        let begin_of_text = find(&names.bos_token, &[]).unwrap_or(end_of_text);
        // Right padding is never attended to, so a tokenizer without its own pad token pads with the end.
        let pad = find(&names.pad_token, &[PAD, "<pad>", "[PAD]"]).unwrap_or(end_of_text);
        let described: Value = serde_json::from_slice(&json).unwrap_or_default();
        if let Some(dropout) = described["model"]["dropout"].as_f64().filter(|dropout| *dropout > 0.0) {
            let why = format!("its BPE leaves out merges by chance (dropout {dropout})");
            let hint = "so that no run could be repeated; set \"dropout\" to null in it";
            return Err(Error::data(format!("{}: {why}, {hint}", path.display())));
        }
        let byte_level = described["decoder"].to_string().contains("\"ByteLevel\"");
        let unknown = unknown(&described["model"], &inner).filter(|id| ![end_of_text, pad].contains(id));
        let vocab_size = inner.get_vocab(true).values().max().map_or(0, |id| *id as usize + 1);
        let words = guard::caught(|| ByteLevelWords::of(&inner)).map_err(damaged)?;
        let sha256 = files::sha256(&json);
        Ok(Self {
            sha256,
            inner,
            words,
            json,
            begin_of_text,
            end_of_text,
            pad,
            unknown,
            vocab_size,
            byte_level,
        })
    }

    /// Content of tokenizer.json.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// The same tokenizer ending each text with the end of text, as texts to classify do; its tokenizer.json
    /// says so, hence other programs encode them to the same ids.
    ///
    /// Where that token is also the padding, models of transformers could not tell it from padding, so there it
    /// is left out. Errors: the library refuses the result (65).
    pub fn ending_texts(self) -> Result<Self> {
        if self.pad == self.end_of_text || self.encode("")?.last() == Some(&self.end_of_text) {
            return Ok(self);
        }
        let ending = around(None, Some((self.token(self.end_of_text), self.end_of_text)));
        let failed =
            |cause: serde_json::Error| Error::data(format!("the tokenizer cannot be changed: {cause}"));
        let mut described: Value = serde_json::from_slice(&self.json).map_err(failed)?;
        let before = described["post_processor"].take();
        described["post_processor"] = match before {
            Value::Null => ending,
            before => json!({"type": "Sequence", "processors": [before, ending]}),
        };
        let name = |id| Some(self.token(id));
        let names = Names {
            bos_token: name(self.begin_of_text),
            eos_token: name(self.end_of_text),
            pad_token: name(self.pad),
        };
        Self::parse(Path::new("the tokenizer"), serde_json::to_vec(&described).map_err(failed)?, &names)
    }

    /// SHA-256 of tokenizer.json.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// V: one more than the largest id.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Id of the token that begins a text; the one that ends it where there is no other.
    pub fn begin_of_text(&self) -> u32 {
        self.begin_of_text
    }

    /// Id of the token that ends a document.
    pub fn end_of_text(&self) -> u32 {
        self.end_of_text
    }

    /// Id that fills rows.
    pub fn pad(&self) -> u32 {
        self.pad
    }

    /// Text of one id, special tokens included.
    pub fn token(&self, id: u32) -> String {
        self.inner.id_to_token(id).unwrap_or_default()
    }

    /// The tokens that begin, end, hide and stand for unknown text in BERT's vocabulary; none where it is another.
    pub fn encoder_tokens(&self) -> Option<[&'static str; 4]> {
        let tokens = ["[CLS]", "[SEP]", "[MASK]", "[UNK]"];
        tokens.iter().all(|token| self.inner.token_to_id(token).is_some()).then_some(tokens)
    }

    /// Ids of each text, in parallel, with the special tokens that the file itself adds (such as `<s>` of
    /// Llama 2). Text that spells `<|pad|>` stays text.
    pub fn encode_batch(&self, texts: &[String]) -> Result<Vec<Vec<u32>>> {
        let failed = |cause: String| Error::data(format!("text cannot be encoded: {cause}"));
        if let Some(words) = &self.words {
            let ids = guard::caught(|| words.encode(&self.inner, texts)).map_err(failed)?;
            return ids.map_err(|cause| failed(cause.to_string()));
        }
        let mut ids = Vec::with_capacity(texts.len());
        for texts in texts.chunks(TEXTS_AT_ONCE) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let encodings = guard::caught(|| self.inner.encode_batch_fast(texts, true)).map_err(failed)?;
            let encodings = encodings.map_err(|cause| failed(cause.to_string()))?;
            ids.extend(encodings.iter().map(|encoding| encoding.get_ids().to_vec()));
        }
        Ok(ids)
    }

    /// Ids of one text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.encode_batch(&[text.to_string()])?.remove(0))
    }

    /// Text of some ids; special tokens are left out.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let failed = |cause: String| Error::data(format!("tokens cannot be decoded: {cause}"));
        let text = guard::caught(|| self.inner.decode(ids, true)).map_err(failed)?;
        text.map_err(|cause| failed(cause.to_string()))
    }

    /// Whether `token_bytes` of all ids of a text add up to its bytes. Other tokenizers may change or drop parts of a
    /// text, such as spaces.
    pub fn counts_bytes(&self) -> bool {
        self.byte_level
    }

    /// Bytes of text behind each id, 0 for special tokens but the one for unknown text.
    pub fn token_bytes(&self) -> Vec<u32> {
        let special: HashSet<u32> = self
            .inner
            .get_added_tokens_decoder()
            .iter()
            .filter(|(id, token)| token.special && Some(**id) != self.unknown)
            .map(|(id, _)| *id)
            .collect();
        let bytes = |id: u32| match self.inner.id_to_token(id) {
            // Byte-level tokens write each byte as one character.
            Some(token) if self.byte_level => token.chars().count() as u32,
            // SentencePiece falls back to single bytes, written as <0x0A>.
            Some(token) if token.len() == 6 && token.starts_with("<0x") && token.ends_with('>') => 1,
            // WordPiece marks what goes on with a word.
            Some(token) => token.strip_prefix("##").unwrap_or(&token).replace('▁', " ").len() as u32,
            None => 0,
        };
        (0..self.vocab_size() as u32).map(|id| if special.contains(&id) { 0 } else { bytes(id) }).collect()
    }
}

/// The tokenizer of a file, tried out.
fn from_bytes(json: &[u8]) -> std::result::Result<tokenizers::Tokenizer, String> {
    let words = |cause: tokenizers::Error| cause.to_string();
    let mut inner = tokenizers::Tokenizer::from_bytes(json).map_err(words)?;
    // A file may carry truncation or padding settings of its last use; here the batch decides.
    inner.with_padding(None);
    inner.with_truncation(None).map_err(words)?;
    // Text that spells a special token is text like any other.
    inner.set_encode_special_tokens(true);
    guard::try_out(&inner)?;
    Ok(inner)
}

/// The token of a model for what its vocabulary lacks.
fn unknown(model: &Value, inner: &tokenizers::Tokenizer) -> Option<u32> {
    let named = model["unk_token"].as_str().and_then(|token| inner.token_to_id(token));
    named.or_else(|| model["unk_id"].as_u64()?.try_into().ok())
}

/// The text in Unicode normalisation form C.
pub(crate) fn nfc(text: &str) -> String {
    let mut normalized = NormalizedString::from(text);
    normalized.nfc();
    normalized.get().to_string()
}

/// The tokenizer.json of GPT-2's older two files: byte-level BPE, `<|endoftext|>` special.
fn from_vocab_and_merges(folder: &Path) -> Result<Vec<u8>> {
    let (vocab, merges) = (folder.join("vocab.json"), folder.join("merges.txt"));
    files::check_regular(&merges)?;
    let damaged = |cause: tokenizers::Error| {
        Error::data(format!("{} and merges.txt are not a byte-level BPE: {cause}", vocab.display()))
    };
    let (vocab_name, merges_name) = (vocab.to_string_lossy(), merges.to_string_lossy());
    let built = guard::caught(|| BPE::from_file(&vocab_name, &merges_name).build());
    let bpe = built.map_err(|why| damaged(why.into()))?.map_err(damaged)?;
    let bytes = ByteLevel::new(false, true, true);
    let mut tokenizer = tokenizers::Tokenizer::new(bpe);
    tokenizer.with_pre_tokenizer(Some(bytes)).with_post_processor(Some(bytes)).with_decoder(Some(bytes));
    let special = [AddedToken::from(END_OF_TEXT, true).special(true)];
    tokenizer.add_special_tokens(special).map_err(damaged)?;
    Ok(tokenizer.to_string(false).map_err(damaged)?.into_bytes())
}
