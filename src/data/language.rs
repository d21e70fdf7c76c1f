//! Language-modelling data: the corpus tokenised once into token files, then batches of windows.

use std::path::{Path, PathBuf};

use super::batch::Batch;
use super::cache::{Cache, about_cache};
use super::corpus::{Corpus, CorpusConfig, Part, Remarks};
use super::sampler::WindowSampler;
use super::token_file::{TokenCounts, TokenFile, TokenKey, TokenWriter, VERSION};
use crate::error::{Error, Result};
use crate::files;
use crate::progress::Progress;
use crate::signals;
use crate::tokenizer::{Tokenizer, TokenizerConfig, WordCounter};

/// Documents are encoded in parallel in pieces of about this size; memory use is a small multiple of it.
const PIECE_BYTES: usize = 4 << 20;

/// Token files of both parts, and the tokenizer they were made with.
pub struct TokenizedCorpus {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// Ids trained on.
    pub train: TokenFile,
    /// Ids measured on.
    pub validation: TokenFile,
    /// SHA-256 of the corpus.
    pub data_sha256: String,
}

/// Finds or makes the tokenizer and the token files of a corpus.
///
/// Both are cached in `data.cache_dir` under the SHA-256 of what they were made from, and checked at each use.
/// Errors: as `Corpus::open`; an empty part, a damaged file of the cache (65).
pub fn tokenize(
    data: &CorpusConfig,
    config: &TokenizerConfig,
    progress: &Progress,
) -> Result<TokenizedCorpus> {
    let corpus = Corpus::open(data)?;
    let cache = Cache::open(Path::new(&data.cache_dir), progress)?;
    let tokenizer = if config.path.is_empty() {
        cached_tokenizer(&corpus, config, &cache, progress)?
    } else {
        Tokenizer::load(Path::new(&config.path))?
    };
    let key = TokenKey { data_sha256: corpus.sha256().into(), tokenizer_sha256: tokenizer.sha256().into() };
    let name = &files::sha256(format!("{VERSION} {key:?}").as_bytes())[..16];
    let path = |part: &str| cache.path(&format!("{name}.{part}.tokens"));
    let paths = (path("train"), path("validation"));
    cache.make(
        name,
        || paths.0.exists() && paths.1.exists(),
        || encode(&corpus, &tokenizer, &paths, &key, progress),
    )?;
    let open = |path: &Path| TokenFile::open(path, &key, tokenizer.vocab_size());
    let (train, validation) = (open(&paths.0)?, open(&paths.1)?);
    let TokenCounts { cut, left_out, .. } = train.counts;
    corpus.warn(&Remarks { cut, left_out }, progress);
    if train.counts.tokens == 0 || validation.counts.tokens == 0 {
        return Err(empty_part(train.counts.documents, validation.counts.documents, left_out));
    }
    Ok(TokenizedCorpus { tokenizer, train, validation, data_sha256: key.data_sha256 })
}

fn empty_part(train: u64, validation: u64, left_out: u64) -> Error {
    let why = format!("the corpus has {train} training and {validation} validation documents");
    let also = match left_out {
        0 => String::new(),
        _ => format!(", {left_out} of data.train stand in data.validation too and are left out"),
    };
    let hint = "both parts need some: check data.document, data.validation and data.validation_fraction";
    Error::data(format!("{why}{also}; {hint}"))
}

/// Finds or trains the tokenizer of a corpus. Its hash stands beside it.
fn cached_tokenizer(
    corpus: &Corpus,
    config: &TokenizerConfig,
    cache: &Cache<'_>,
    progress: &Progress,
) -> Result<Tokenizer> {
    let (size, frequency, digits) = (config.vocab_size, config.min_frequency, config.single_digits);
    let made_from = format!("{VERSION} {} {size} {frequency} {digits}", corpus.sha256());
    let name = &files::sha256(made_from.as_bytes())[..16];
    let path = cache.path(&format!("{name}.tokenizer.json"));
    let hash_path = cache.path(&format!("{name}.tokenizer.sha256"));
    cache.make(
        &format!("{name}.tokenizer"),
        || path.exists() && hash_path.exists(),
        || {
            let tokenizer = train_tokenizer(corpus, config, progress)?;
            let write = |path: &Path, bytes: &[u8]| {
                files::write_atomic(path, bytes).map_err(|error| about_cache(path, error))
            };
            write(&path, tokenizer.json())?;
            write(&hash_path, tokenizer.sha256().as_bytes())
        },
    )?;
    if files::sha256_of(&path)? != files::read_text(&hash_path)? {
        let hint = format!("delete it and {}, they are made again from the text", hash_path.display());
        return Err(Error::data(format!("{} does not match its hash; {hint}", path.display())));
    }
    Tokenizer::load(&path)
}

/// Trains a tokenizer on the training part of a corpus; documents stream through.
///
/// Errors: no document (65).
pub fn train_tokenizer(corpus: &Corpus, config: &TokenizerConfig, progress: &Progress) -> Result<Tokenizer> {
    let bar = progress.bar("training tokenizer", corpus.bytes());
    let mut words = WordCounter::new(config.single_digits);
    let (mut bytes, mut in_train, mut in_validation) = (0, 0, 0);
    let remarks = corpus.for_each(|part, document| {
        signals::check()?;
        bytes += document.len() as u64;
        bar.advance_to(bytes, || "bytes".into());
        if part == Part::Train {
            in_train += 1;
            words.push(document);
        } else {
            in_validation += 1;
        }
        Ok(())
    })?;
    corpus.check_unchanged()?;
    if in_train == 0 && in_validation > 0 {
        return Err(empty_part(in_train, in_validation, remarks.left_out));
    }
    Tokenizer::of_words(words, config)
}

fn encode(
    corpus: &Corpus,
    tokenizer: &Tokenizer,
    paths: &(PathBuf, PathBuf),
    key: &TokenKey,
    progress: &Progress,
) -> Result<()> {
    let bar = progress.bar("tokenising", corpus.bytes());
    let create = |path: &Path| TokenWriter::create(path, tokenizer.vocab_size());
    let mut writers = (create(&paths.0)?, create(&paths.1)?);
    let mut piece: (Vec<Part>, Vec<String>) = Default::default();
    let (mut piece_bytes, mut bytes) = (0, 0);
    let mut write = |(parts, documents): (Vec<Part>, Vec<String>)| -> Result<()> {
        let encoded = tokenizer.encode_batch(&documents)?;
        for ((part, document), mut ids) in parts.into_iter().zip(&documents).zip(encoded) {
            end_document(&mut ids, tokenizer);
            let writer = if part == Part::Train { &mut writers.0 } else { &mut writers.1 };
            writer.push(&ids, document.len())?;
        }
        Ok(())
    };
    let remarks = corpus.for_each(|part, document| {
        signals::check()?;
        piece_bytes += document.len();
        piece.0.push(part);
        piece.1.push(document);
        if piece_bytes >= PIECE_BYTES {
            bytes += std::mem::take(&mut piece_bytes) as u64;
            write(std::mem::take(&mut piece))?;
            bar.advance_to(bytes, || "bytes".into());
        }
        Ok(())
    })?;
    write(piece)?;
    corpus.check_unchanged()?;
    let counts = &mut writers.0.counts;
    (counts.cut, counts.left_out) = (remarks.cut, remarks.left_out);
    writers.0.finish(key)?;
    writers.1.finish(key)
}

/// Adds the end of text, where the tokenizer has not done so.
fn end_document(ids: &mut Vec<u32>, tokenizer: &Tokenizer) {
    if ids.last() != Some(&tokenizer.end_of_text()) {
        ids.push(tokenizer.end_of_text());
    }
}

/// Windows of a tokenised corpus as batches.
pub struct LanguageData {
    corpus: TokenizedCorpus,
    sampler: WindowSampler,
    seq_len: usize,
}

impl LanguageData {
    /// Errors: a text shorter than two windows (65), with both numbers.
    pub fn new(corpus: TokenizedCorpus, seq_len: usize, seed: u64) -> Result<Self> {
        let tokens = corpus.train.counts.tokens;
        let sampler = WindowSampler::new(tokens, seq_len, seed).ok_or_else(|| {
            let why = format!(
                "the training text has {tokens} tokens, train.seq_len {seq_len} needs {}",
                2 * seq_len
            );
            Error::data(format!("{why}; use more text or a smaller train.seq_len"))
        })?;
        Ok(Self { corpus, sampler, seq_len })
    }

    /// The corpus behind the windows.
    pub fn corpus(&self) -> &TokenizedCorpus {
        &self.corpus
    }

    /// Windows of one epoch.
    pub fn samples_per_epoch(&self) -> u64 {
        self.sampler.samples_per_epoch()
    }

    /// Samples `first..first + rows` of the training order, counted through all epochs.
    ///
    /// Errors: as [`TokenFile::ids`].
    pub fn train_batch(&self, first: u64, rows: usize) -> Result<Batch> {
        let starts: Vec<u64> = (first..first + rows as u64).map(|index| self.sampler.start(index)).collect();
        windows(&self.corpus.train, &starts, self.seq_len)
    }

    /// The whole validation stream in windows without overlap, the last one shorter; every token but the
    /// first is a target exactly once.
    pub fn validation_batches(&self, rows: usize) -> impl ExactSizeIterator<Item = Result<Batch>> + '_ {
        let (file, seq_len) = (&self.corpus.validation, self.seq_len);
        let starts: Vec<u64> = (0..file.counts.tokens.saturating_sub(1)).step_by(seq_len).collect();
        let batches: Vec<Vec<u64>> = starts.chunks(rows.max(1)).map(<[u64]>::to_vec).collect();
        batches.into_iter().map(move |starts| windows(file, &starts, seq_len))
    }

    /// Bytes of the predicted validation text, where [`Tokenizer::token_bytes`] does not say.
    pub fn validation_bytes(&self) -> Result<Option<u64>> {
        let TokenizedCorpus { tokenizer, validation, .. } = &self.corpus;
        let first = validation.ids(0, 1)?;
        Ok(predicted_bytes(tokenizer, validation.counts.text_bytes, first.first()))
    }

    /// The first documents of the validation part with at least `min_tokens` tokens, without their end.
    pub fn validation_documents(&self, min_tokens: usize, max_documents: usize) -> Result<Vec<Vec<u32>>> {
        let end = self.corpus.tokenizer.end_of_text();
        // Enough to find that many documents in any ordinary corpus, bounded for very large ones.
        let ids = self.corpus.validation.ids(0, 1 << 20)?;
        let documents = ids.split(|id| *id == end).filter(|document| document.len() >= min_tokens);
        Ok(documents.take(max_documents).map(<[u32]>::to_vec).collect())
    }
}

fn windows(file: &TokenFile, starts: &[u64], seq_len: usize) -> Result<Batch> {
    let windows: Vec<Vec<u32>> =
        starts.iter().map(|start| file.ids(*start, seq_len + 1)).collect::<Result<_>>()?;
    Ok(Batch::of_windows(windows.into_iter()))
}

/// Bytes of the predicted text, where those of its ids do not add up to it: all but those of the first id.
fn predicted_bytes(tokenizer: &Tokenizer, text_bytes: u64, first: Option<&u32>) -> Option<u64> {
    let bytes_of_id = tokenizer.token_bytes();
    let unpredicted = first.and_then(|id| bytes_of_id.get(*id as usize)).copied().unwrap_or(0);
    (!tokenizer.counts_bytes()).then(|| text_bytes.saturating_sub(unpredicted.into()))
}

/// Hands a whole text, that of `data.train`, to `take` in batches of windows without overlap, as
/// [`LanguageData::validation_batches`] cuts them; the text is never held as a whole.
///
/// Returns what [`LanguageData::validation_bytes`] is of that text. Errors: as reading a corpus, and as `take`.
pub fn for_each_batch(
    data: &CorpusConfig,
    tokenizer: &Tokenizer,
    seq_len: usize,
    rows: usize,
    mut take: impl FnMut(Batch) -> Result<()>,
) -> Result<Option<u64>> {
    let corpus = Corpus::open(data)?;
    let (mut ids, mut first, mut text_bytes) = (Vec::new(), None, 0);
    let batch_tokens = rows.max(1) * seq_len;
    let batch = |ids: &[u32]| {
        let starts = (0..ids.len().saturating_sub(1)).step_by(seq_len);
        Batch::of_windows(starts.map(|start| &ids[start..(start + seq_len + 1).min(ids.len())]))
    };
    corpus.for_each(|_, document| {
        let mut new = tokenizer.encode(&document)?;
        end_document(&mut new, tokenizer);
        text_bytes += document.len() as u64;
        first = first.or(new.first().copied());
        ids.extend(new);
        // The last id of a batch is predicted in it and begins the next one.
        let mut done = 0;
        while ids.len() - done > batch_tokens {
            take(batch(&ids[done..=done + batch_tokens]))?;
            done += batch_tokens;
        }
        ids.drain(..done);
        Ok(())
    })?;
    if ids.len() > 1 {
        take(batch(&ids))?;
    }
    Ok(predicted_bytes(tokenizer, text_bytes, first.as_ref()))
}
