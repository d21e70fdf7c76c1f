//! Raw text to documents, each in the training or the validation part.
//!
//! The validation part is chosen by content hash, so the same document always falls on the same side,
//! whatever the order of files; documents stream through, the text is never held as a whole.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::demo;
use super::table::{self, Columns, Row, RowFormat, Rows};
use super::text::{Lines, MAX_LINE_BYTES, is_packed};
use crate::error::{Error, ErrorKind, Result};
use crate::files;

/// Where one document ends and the next begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DocumentBoundary {
    /// Blank lines separate documents.
    #[default]
    BlankLine,
    /// Each line is a document.
    Line,
    /// Each file is a document.
    File,
}

/// `[data]` of pretrain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CorpusConfig {
    /// Files, folders (all files below, sorted) or globs; `demo` is the text inside the program.
    pub train: Vec<String>,
    /// The same for validation; empty takes a part of `train`.
    pub validation: Vec<String>,
    /// Share of documents in validation when it has no files of its own.
    pub validation_fraction: f64,
    /// What ends a document of plain text: `blank_line`, `line` or `file`. Each row of a table is one.
    pub document: DocumentBoundary,
    /// `auto` (by extension, others are text), `text`, `tsv`, `csv`, `jsonl` or `parquet`.
    pub format: RowFormat,
    /// Column or key of the text in a table.
    pub text_column: String,
    /// Replace undecodable bytes instead of stopping.
    pub lossy: bool,
    /// Folder of the token files.
    pub cache_dir: String,
}

impl Default for CorpusConfig {
    fn default() -> Self {
        Self {
            train: vec![demo::NAME.into()],
            validation: Vec::new(),
            validation_fraction: 0.05,
            document: DocumentBoundary::BlankLine,
            format: RowFormat::Auto,
            text_column: "text".into(),
            lossy: false,
            cache_dir: "runs/cache".into(),
        }
    }
}

impl CorpusConfig {
    /// Errors: no text named, or a fraction outside 0..1.
    pub fn check(&self) -> Result<()> {
        if self.train.is_empty() {
            return Err(Error::usage("data.train is empty; name text files, folders or globs"));
        }
        if self.validation.is_empty() && !(self.validation_fraction > 0.0 && self.validation_fraction < 1.0) {
            let range = "lie between 0 and 1 when data.validation is empty";
            return Err(Error::outside("data.validation_fraction", self.validation_fraction, range));
        }
        if self.text_column.is_empty() {
            return Err(Error::usage("data.text_column is empty; name the column or key of the text"));
        }
        Ok(())
    }

    /// The format of a source that is a table; none where it is plain text.
    fn table_format(&self, source: &Source) -> Option<RowFormat> {
        let Source::File(path) = source else { return None };
        self.format.of(path).filter(|format| *format != RowFormat::Text)
    }
}

/// Which part of the corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Trained on.
    Train,
    /// Measured on.
    Validation,
}

enum Source {
    File(PathBuf),
    Embedded(&'static str, &'static str),
}

/// The files of a corpus, found and hashed.
pub struct Corpus {
    config: CorpusConfig,
    train: Vec<Source>,
    validation: Vec<Source>,
    sha256: String,
}

/// A longer document is cut into several: bounds memory for files without boundaries.
const MAX_DOCUMENT_BYTES: usize = 4 * MAX_LINE_BYTES;

impl Corpus {
    /// Finds the files of `[data]` and hashes their contents.
    ///
    /// Errors: a path or glob that matches nothing (66), an unreadable or empty file (66, 65).
    pub fn open(config: &CorpusConfig) -> Result<Self> {
        let (train, validation) = (find(&config.train)?, find(&config.validation)?);
        let mut hash = Sha256::new();
        for source in train.iter().chain(&validation) {
            let sha256 = match source {
                Source::File(path) => files::sha256_of(path)?,
                Source::Embedded(_, text) => files::sha256(text.as_bytes()),
            };
            hash.update(sha256.as_bytes());
        }
        hash.update((train.len() as u64).to_le_bytes());
        hash.update(format!("{:?} {} {}", config.document, config.lossy, config.validation_fraction));
        if train.iter().chain(&validation).any(|source| config.table_format(source).is_some()) {
            hash.update(format!("{:?} {}", config.format, config.text_column));
        }
        let sha256 = files::hex(hash.finalize().as_slice());
        Ok(Self { config: config.clone(), train, validation, sha256 })
    }

    /// SHA-256 over all files and the keys that decide what a document is.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// About the size of all texts in bytes, for progress.
    pub fn bytes(&self) -> u64 {
        let size = |source: &Source| match source {
            // Compressed text is usually two to four times as long.
            Source::File(path) if is_packed(path) => path.metadata().map_or(0, |meta| 3 * meta.len()),
            Source::File(path) => path.metadata().map_or(0, |meta| meta.len()),
            Source::Embedded(_, text) => text.len() as u64,
        };
        self.train.iter().chain(&self.validation).map(size).sum()
    }

    /// Hands each document to `take` with its part; stops at the first error.
    pub fn for_each(&self, mut take: impl FnMut(Part, String) -> Result<()>) -> Result<()> {
        for source in &self.train {
            self.documents(source, &mut |document| {
                let part = if self.validation.is_empty() && self.is_held_out(&document) {
                    Part::Validation
                } else {
                    Part::Train
                };
                take(part, document)
            })?;
        }
        for source in &self.validation {
            self.documents(source, &mut |document| take(Part::Validation, document))?;
        }
        Ok(())
    }

    fn is_held_out(&self, document: &str) -> bool {
        content_fraction(document) < self.config.validation_fraction
    }

    fn documents(&self, source: &Source, take: &mut dyn FnMut(String) -> Result<()>) -> Result<()> {
        if let (Source::File(path), Some(format)) = (source, self.config.table_format(source)) {
            let columns = Columns { text: &self.config.text_column, label: None };
            let mut take = |row: Row| take(row.text);
            let mut rows = Rows::new(path, &mut take).skipping_blank();
            table::read_file(path, format, self.config.lossy, columns, &mut rows)?;
            return rows.finish();
        }
        let mut lines = match source {
            Source::File(path) => Lines::open(path, self.config.lossy)?,
            Source::Embedded(name, text) => Lines::new(Path::new(name), Box::new(text.as_bytes()), false),
        };
        let mut document = String::new();
        let mut flush = |document: &mut String| {
            let text = std::mem::take(document);
            let text = text.trim_end();
            if text.trim().is_empty() { Ok(()) } else { take(text.to_string()) }
        };
        while let Some(line) = lines.next_line()? {
            let ends = match self.config.document {
                DocumentBoundary::Line => line.ends_with('\n'),
                DocumentBoundary::BlankLine => line.trim().is_empty(),
                DocumentBoundary::File => false,
            };
            document.push_str(&line);
            if ends || document.len() >= MAX_DOCUMENT_BYTES {
                flush(&mut document)?;
            }
        }
        flush(&mut document)
    }
}

/// A number in 0..1 that depends on the text alone, leading and trailing space aside.
pub(super) fn content_fraction(text: &str) -> f64 {
    let digest = Sha256::digest(text.trim().as_bytes());
    let head = u64::from_le_bytes(std::array::from_fn(|i| digest[i]));
    head as f64 / u64::MAX as f64
}

fn find(patterns: &[String]) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    for pattern in patterns {
        if pattern == demo::NAME {
            found.extend(demo::corpus().iter().map(|(name, text)| Source::Embedded(name, text)));
            continue;
        }
        if pattern.contains("://") {
            let why = "text comes from local paths, globs and hf://datasets/OWNER/NAME/PATH";
            return Err(Error::usage(format!(
                "data source '{pattern}' is not known: {why}; download it first"
            )));
        }
        let mut paths = matching(pattern)?;
        paths.sort();
        for path in paths {
            if path.is_dir() { walk(&path, &mut found)? } else { found.push(checked(path)?) }
        }
    }
    Ok(found)
}

fn matching(pattern: &str) -> Result<Vec<PathBuf>> {
    let path = Path::new(pattern);
    if path.exists() || !pattern.contains(['*', '?', '[']) {
        return Ok(vec![path.to_path_buf()]);
    }
    let paths =
        glob::glob(pattern).map_err(|cause| Error::usage(format!("data source '{pattern}': {cause}")))?;
    let paths: Vec<PathBuf> = paths.filter_map(std::result::Result::ok).collect();
    if paths.is_empty() {
        let why = format!("no file matches data source '{pattern}'; it is relative to the working directory");
        return Err(Error::new(ErrorKind::MissingInput, why));
    }
    Ok(paths)
}

fn walk(folder: &Path, found: &mut Vec<Source>) -> Result<()> {
    let entries = std::fs::read_dir(folder).map_err(|cause| Error::reading(folder, &cause))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')));
    paths.sort();
    if paths.is_empty() {
        let why = format!("folder {} is empty; put text files into it", folder.display());
        return Err(Error::new(ErrorKind::MissingInput, why));
    }
    for path in paths {
        if path.is_dir() { walk(&path, found)? } else { found.push(checked(path)?) }
    }
    Ok(())
}

fn checked(path: PathBuf) -> Result<Source> {
    files::check_regular(&path)?;
    if path.metadata().is_ok_and(|meta| meta.len() == 0) {
        return Err(Error::data(format!("{} is empty; remove it from the data or fill it", path.display())));
    }
    Ok(Source::File(path))
}
