//! Raw text to documents, each in the training or the validation part.
//!
//! The validation part is chosen by content hash, so the same document always falls on the same side,
//! whatever the order of files; documents stream through, the text is never held as a whole.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::advice::Advice;
use super::demo;
use super::table::{self, Columns, Row, RowFormat, Rows};
use super::text::{Lines, MAX_LINE_BYTES, is_packed};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::progress::Progress;

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
    /// How errors name these options.
    #[serde(skip)]
    pub advice: Advice,
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
            advice: Advice::default(),
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

    /// The same for a file that a command names: `asked` goes before what its name says, and that before the format
    /// of the files that a run was made from.
    #[must_use]
    pub fn for_file(&self, path: &Path, asked: Option<RowFormat>) -> Self {
        Self { format: self.format.for_file(path, asked), advice: Advice::Flags, ..self.clone() }
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

impl Source {
    fn sha256(&self) -> Result<String> {
        match self {
            Source::File(path) => files::sha256_of(path),
            Source::Embedded(_, text) => Ok(files::sha256(text.as_bytes())),
        }
    }

    /// The same for two names of one file.
    fn identity(&self) -> PathBuf {
        match self {
            Source::File(path) => path.canonicalize().unwrap_or_else(|_| path.clone()),
            Source::Embedded(name, _) => PathBuf::from(name),
        }
    }

    fn name(&self) -> &Path {
        match self {
            Source::File(path) => path,
            Source::Embedded(name, _) => Path::new(name),
        }
    }
}

/// The files of a corpus, found and hashed.
pub struct Corpus {
    config: CorpusConfig,
    train: Vec<Source>,
    validation: Vec<Source>,
    /// SHA-256 of each of them, in that order.
    sources_sha256: Vec<String>,
    sha256: String,
    /// Files left out since another entry of the same list names them too.
    repeated: u64,
}

/// What reading all documents left out or changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    /// Documents that were cut since they were too long.
    pub cut: u64,
    /// Training documents left out since they stand in validation too.
    pub left_out: u64,
}

/// A longer document is cut into several: bounds memory for files without boundaries.
const MAX_DOCUMENT_BYTES: usize = 4 * MAX_LINE_BYTES;

impl Corpus {
    /// Finds the files of `[data]` and hashes their contents.
    ///
    /// Errors: a path or glob that matches nothing (66), an unreadable or empty file (66, 65).
    pub fn open(config: &CorpusConfig) -> Result<Self> {
        let (train, repeated_train) = find(&config.train)?;
        let (validation, repeated_validation) = find(&config.validation)?;
        let all = || train.iter().chain(&validation);
        let sources_sha256: Vec<String> = all().map(Source::sha256).collect::<Result<_>>()?;
        let mut hash = Sha256::new();
        sources_sha256.iter().for_each(|sha256| hash.update(sha256.as_bytes()));
        hash.update((train.len() as u64).to_le_bytes());
        hash.update(format!("{:?} {} {}", config.document, config.lossy, config.validation_fraction));
        if all().any(|source| config.table_format(source).is_some()) {
            hash.update(format!("{:?} {}", config.format, config.text_column));
        }
        let sha256 = files::hex(hash.finalize().as_slice());
        let repeated = repeated_train + repeated_validation;
        Ok(Self { config: config.clone(), train, validation, sources_sha256, sha256, repeated })
    }

    /// Errors: a file is no longer what it was when the corpus was opened (65), or cannot be read (66).
    pub fn check_unchanged(&self) -> Result<()> {
        for (source, before) in self.train.iter().chain(&self.validation).zip(&self.sources_sha256) {
            if source.sha256()? != *before {
                let why = "changed while it was read; start again when it is complete";
                return Err(Error::data(format!("{} {why}", source.name().display())));
            }
        }
        Ok(())
    }

    /// Warns of what a user may not expect.
    pub fn warn(&self, remarks: &Remarks, progress: &Progress) {
        let Remarks { cut, left_out } = *remarks;
        if self.repeated > 0 {
            let why = "named by two entries of data.train or data.validation and read once";
            progress.warn(format!("{} files are {why}", self.repeated));
        }
        if left_out > 0 {
            let why = "stand in data.validation too; they are left out of training";
            progress.warn(format!("{left_out} documents of data.train {why}"));
        }
        if cut > 0 {
            let (limit, hint) = (MAX_DOCUMENT_BYTES >> 20, "data.document says what separates documents");
            progress
                .warn(format!("{cut} times a document was cut, as it is longer than {limit} MiB; {hint}"));
        }
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
    ///
    /// A text that stands in both parts is held out.
    pub fn for_each(&self, mut take: impl FnMut(Part, String) -> Result<()>) -> Result<Remarks> {
        let held_out = self.held_out()?;
        let (mut cut, mut left_out) = (0, 0);
        for source in &self.train {
            cut += self.documents(source, &mut |document| {
                if held_out.contains(&content_hash(&document)) {
                    left_out += 1;
                    return Ok(());
                }
                let by_chance = self.validation.is_empty() && self.is_held_out(&document);
                take(if by_chance { Part::Validation } else { Part::Train }, document)
            })?;
        }
        for source in &self.validation {
            cut += self.documents(source, &mut |document| take(Part::Validation, document))?;
        }
        Ok(Remarks { cut, left_out })
    }

    /// Hashes of the documents of the validation files.
    fn held_out(&self) -> Result<HashSet<u64>> {
        let mut texts = HashSet::new();
        for source in &self.validation {
            self.documents(source, &mut |document| {
                texts.insert(content_hash(&document));
                Ok(())
            })?;
        }
        Ok(texts)
    }

    fn is_held_out(&self, document: &str) -> bool {
        content_fraction(document) < self.config.validation_fraction
    }

    /// Hands on the documents of a source; how often one was cut.
    fn documents(&self, source: &Source, take: &mut dyn FnMut(String) -> Result<()>) -> Result<u64> {
        if let (Source::File(path), Some(format)) = (source, self.config.table_format(source)) {
            let columns = Columns { text: &self.config.text_column, label: None };
            let mut take = |row: Row<'_>| take(row.text.to_string());
            let mut rows = Rows::new(path, &mut take).advised(self.config.advice).skipping_blank();
            table::read_file(path, format, self.config.lossy, columns, &mut rows)?;
            return rows.finish().map(|_| 0);
        }
        let mut lines = match source {
            Source::File(path) => Lines::open(path, self.config.lossy)?.advised(self.config.advice),
            Source::Embedded(name, text) => Lines::new(Path::new(name), Box::new(text.as_bytes()), false),
        };
        let (mut document, mut is_full, mut cut) = (String::new(), false, 0);
        let mut flush = |document: &mut String| {
            let text = std::mem::take(document);
            let text = text.trim_end();
            if text.trim().is_empty() { Ok(()) } else { take(text.to_string()) }
        };
        while let Some(line) = lines.next_line()? {
            let ends_line = line.ends_with('\n');
            let ends = match self.config.document {
                DocumentBoundary::Line => ends_line,
                DocumentBoundary::BlankLine => ends_line && !lines.continues && line.trim().is_empty(),
                DocumentBoundary::File => false,
            };
            cut += u64::from(is_full && !line.trim().is_empty());
            document.push_str(&line);
            is_full = !ends && document.len() >= MAX_DOCUMENT_BYTES;
            if ends || is_full {
                flush(&mut document)?;
            }
        }
        flush(&mut document)?;
        Ok(cut)
    }
}

/// A number that depends on the text alone, leading and trailing space aside.
fn content_hash(text: &str) -> u64 {
    let digest = Sha256::digest(text.trim().as_bytes());
    u64::from_le_bytes(std::array::from_fn(|i| digest[i]))
}

/// The same in 0..1.
pub(super) fn content_fraction(text: &str) -> f64 {
    content_hash(text) as f64 / u64::MAX as f64
}

/// The sources of a list, and how many that an entry names were left out as an earlier, different entry names them too.
///
/// An entry that is repeated word for word counts each time: that gives a file more weight.
fn find(entries: &[String]) -> Result<(Vec<Source>, u64)> {
    let (mut found, mut left_out) = (Vec::new(), 0);
    let mut named_by: HashMap<PathBuf, &String> = HashMap::new();
    for entry in entries {
        for source in sources_of(entry)? {
            if named_by.entry(source.identity()).or_insert(entry) == &entry {
                found.push(source);
            } else {
                left_out += 1;
            }
        }
    }
    Ok((found, left_out))
}

/// The files that an entry of `data.train` names, or itself where they cannot be read.
pub fn files_named(entry: &str) -> Vec<PathBuf> {
    let Ok(sources) = sources_of(entry) else { return vec![entry.into()] };
    let file = |source| match source {
        Source::File(path) => Some(path),
        Source::Embedded(..) => None,
    };
    sources.into_iter().filter_map(file).collect()
}

fn sources_of(entry: &str) -> Result<Vec<Source>> {
    if entry == demo::NAME {
        return Ok(demo::corpus().iter().map(|(name, text)| Source::Embedded(name, text)).collect());
    }
    if entry.contains("://") {
        let why = "text comes from local paths, globs and hf://datasets/OWNER/NAME/PATH";
        return Err(Error::usage(format!("data source '{entry}' is not known: {why}; download it first")));
    }
    let mut paths = matching(entry)?;
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() { walk(&path, &mut found)? } else { found.push(checked(path)?) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_while_it_is_read_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.txt");
        std::fs::write(&path, "one\n").unwrap();
        let config = CorpusConfig { train: vec![path.display().to_string()], ..CorpusConfig::default() };
        let corpus = Corpus::open(&config).unwrap();
        corpus.check_unchanged().unwrap();
        std::fs::write(&path, "one\ntwo\n").unwrap();
        let error = corpus.check_unchanged().unwrap_err();
        assert_eq!(error.kind, ErrorKind::BadData);
        assert!(error.to_string().contains("x.txt changed while it was read"), "{error}");
    }
}
