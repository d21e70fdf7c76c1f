//! Language-modelling data: the corpus tokenised once into token files, then batches of windows.

use std::path::{Path, PathBuf};

use super::batch::Batch;
use super::corpus::{Corpus, CorpusConfig, DocumentBoundary, Part};
use super::sampler::WindowSampler;
use super::token_file::{TokenFile, TokenKey, TokenWriter};
use crate::error::{Error, Result};
use crate::files;
use crate::progress::Progress;
use crate::tokenizer::{Tokenizer, TokenizerConfig};

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
/// Both are cached in `data.cache_dir` under the SHA-256 of what they were made from.
/// Errors: as `Corpus::open`; an empty part (65).
pub fn tokenize(
    data: &CorpusConfig,
    config: &TokenizerConfig,
    progress: &Progress,
) -> Result<TokenizedCorpus> {
    let corpus = Corpus::open(data)?;
    let cache = Path::new(&data.cache_dir);
    std::fs::create_dir_all(cache).map_err(|cause| Error::writing(cache, &cause))?;
    let tokenizer = if config.path.is_empty() {
        cached_tokenizer(&corpus, config, cache, progress)?
    } else {
        Tokenizer::load(Path::new(&config.path))?
    };
    let key = TokenKey { data_sha256: corpus.sha256().into(), tokenizer_sha256: tokenizer.sha256().into() };
    let name = &files::sha256(format!("{key:?}").as_bytes())[..16];
    let path = |part: &str| cache.join(format!("{name}.{part}.tokens"));
    let paths = (path("train"), path("validation"));
    if !(paths.0.exists() && paths.1.exists()) {
        encode(&corpus, &tokenizer, &paths, &key, progress)?;
    }
    let (train, validation) = (TokenFile::open(&paths.0, &key)?, TokenFile::open(&paths.1, &key)?);
    if train.tokens == 0 || validation.tokens == 0 {
        let (t, v) = (train.documents, validation.documents);
        let why = format!("the corpus has {t} training and {v} validation documents; both parts need some");
        return Err(Error::data(format!("{why}: check data.document and data.validation_fraction")));
    }
    Ok(TokenizedCorpus { tokenizer, train, validation, data_sha256: key.data_sha256 })
}

fn cached_tokenizer(
    corpus: &Corpus,
    config: &TokenizerConfig,
    cache: &Path,
    progress: &Progress,
) -> Result<Tokenizer> {
    let (size, frequency, digits) = (config.vocab_size, config.min_frequency, config.single_digits);
    let made_from = format!("{} {size} {frequency} {digits}", corpus.sha256());
    let path = cache.join(format!("{}.tokenizer.json", &files::sha256(made_from.as_bytes())[..16]));
    if path.exists() {
        return Tokenizer::load(&path);
    }
    let tokenizer = train_tokenizer(corpus, config, progress)?;
    files::write_atomic(&path, tokenizer.json())?;
    Ok(tokenizer)
}

/// Trains a tokenizer on the training part of a corpus; documents stream through.
pub fn train_tokenizer(corpus: &Corpus, config: &TokenizerConfig, progress: &Progress) -> Result<Tokenizer> {
    let bar = progress.bar("training tokenizer", corpus.bytes());
    // The corpus pushes documents, the trainer pulls them: a short channel stands between.
    let (sender, receiver) = std::sync::mpsc::sync_channel::<String>(1024);
    std::thread::scope(|scope| {
        let trainer = scope.spawn(move || Tokenizer::train(receiver.into_iter(), config));
        let mut bytes = 0;
        let read = corpus.for_each(|part, document| {
            bytes += document.len() as u64;
            bar.advance_to(bytes, || "bytes".into());
            // A receiver that is gone means the trainer failed and reports it itself.
            let _ = if part == Part::Train { sender.send(document) } else { Ok(()) };
            Ok(())
        });
        drop(sender);
        let trained = trainer.join().map_err(|_| Error::data("training the tokenizer failed"))?;
        read.and(trained)
    })
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
    corpus.for_each(|part, document| {
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
        let tokens = corpus.train.tokens;
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
    pub fn train_batch(&self, first: u64, rows: usize) -> Batch {
        let starts: Vec<u64> = (first..first + rows as u64).map(|index| self.sampler.start(index)).collect();
        windows(&self.corpus.train, &starts, self.seq_len)
    }

    /// The whole validation stream in windows without overlap, the last one shorter; every token but the
    /// first is a target exactly once.
    pub fn validation_batches(&self, rows: usize) -> impl ExactSizeIterator<Item = Batch> + '_ {
        let (file, seq_len) = (&self.corpus.validation, self.seq_len);
        let starts: Vec<u64> = (0..file.tokens.saturating_sub(1)).step_by(seq_len).collect();
        let batches: Vec<Vec<u64>> = starts.chunks(rows.max(1)).map(<[u64]>::to_vec).collect();
        batches.into_iter().map(move |starts| windows(file, &starts, seq_len))
    }

    /// The first documents of the validation part with at least `min_tokens` tokens, without their end.
    pub fn validation_documents(&self, min_tokens: usize, max_documents: usize) -> Vec<Vec<u32>> {
        let end = self.corpus.tokenizer.end_of_text();
        // Enough to find that many documents in any ordinary corpus, bounded for very large ones.
        let ids = self.corpus.validation.ids(0, 1 << 20);
        let documents = ids.split(|id| *id == end).filter(|document| document.len() >= min_tokens);
        documents.take(max_documents).map(<[u32]>::to_vec).collect()
    }
}

fn windows(file: &TokenFile, starts: &[u64], seq_len: usize) -> Batch {
    Batch::of_windows(starts.iter().map(|start| file.ids(*start, seq_len + 1)))
}

/// A whole text as batches of windows, for measuring a model on it.
///
/// Errors: as reading a corpus.
pub fn text_windows(
    path: &Path,
    document: DocumentBoundary,
    tokenizer: &Tokenizer,
    seq_len: usize,
    rows: usize,
) -> Result<Vec<Batch>> {
    let train = vec![path.display().to_string()];
    let corpus = Corpus::open(&CorpusConfig { train, document, ..CorpusConfig::default() })?;
    let mut ids = Vec::new();
    corpus.for_each(|_, document| {
        let mut document = tokenizer.encode(&document)?;
        end_document(&mut document, tokenizer);
        ids.extend(document);
        Ok(())
    })?;
    let starts: Vec<usize> = (0..ids.len().saturating_sub(1)).step_by(seq_len).collect();
    let window = |start: &usize| &ids[*start..(*start + seq_len + 1).min(ids.len())];
    Ok(starts.chunks(rows.max(1)).map(|starts| Batch::of_windows(starts.iter().map(window))).collect())
}
