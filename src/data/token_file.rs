//! Token ids on disk: a header that says what they belong to, then the ids.
//!
//! Layout, little-endian: magic "TRAINTOK", version u32, bytes per id u32, then as u64 tokens, documents, text bytes,
//! documents cut and documents left out; SHA-256 of the data, of the tokenizer, and of ids and header (64 hexadecimal
//! digits each); ids.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::cache::cannot_write;
use crate::error::{Error, Result};
use crate::files;

const MAGIC: &[u8; 8] = b"TRAINTOK";
/// Of the layout, and of what a corpus becomes in it.
pub(super) const VERSION: u32 = 2;
const HASH_DIGITS: usize = 64;
const HEADER_BYTES: usize = 8 + 4 + 4 + 5 * 8 + 3 * HASH_DIGITS;
/// Ids are read to be checked in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;

/// What the ids belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenKey {
    /// SHA-256 of the corpus.
    pub data_sha256: String,
    /// SHA-256 of tokenizer.json.
    pub tokenizer_sha256: String,
}

/// What the ids were made from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenCounts {
    /// Ids.
    pub tokens: u64,
    /// Documents.
    pub documents: u64,
    /// Bytes of the text behind the ids.
    pub text_bytes: u64,
    /// Documents that were cut since they were too long.
    pub cut: u64,
    /// Documents left out since they stand in the other part too.
    pub left_out: u64,
}

/// The first bytes of a token file, its last hash aside.
fn header(id_bytes: u32, counts: &TokenCounts, key: &TokenKey) -> Vec<u8> {
    let TokenCounts { tokens, documents, text_bytes, cut, left_out } = *counts;
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&id_bytes.to_le_bytes());
    for count in [tokens, documents, text_bytes, cut, left_out] {
        header.extend_from_slice(&count.to_le_bytes());
    }
    header.extend_from_slice(key.data_sha256.as_bytes());
    header.extend_from_slice(key.tokenizer_sha256.as_bytes());
    header
}

/// SHA-256 of ids and header, from the hash that has seen the ids.
fn content_sha256(mut ids: Sha256, header: &[u8]) -> String {
    ids.update(header);
    files::hex(ids.finalize().as_slice())
}

/// Writes a token file; it takes its name only when it is complete, and leaves nothing behind when it is not.
pub struct TokenWriter {
    path: PathBuf,
    temporary: PathBuf,
    file: BufWriter<File>,
    hash: Sha256,
    id_bytes: u32,
    /// What was written so far; whoever writes adds what was cut and left out.
    pub counts: TokenCounts,
}

impl TokenWriter {
    /// Starts the file; ids take two bytes when `vocab_size` allows.
    pub fn create(path: &Path, vocab_size: usize) -> Result<Self> {
        let temporary = files::temporary(path);
        let file = File::create(&temporary).map_err(|cause| cannot_write(path, &cause))?;
        let mut file = BufWriter::with_capacity(1 << 20, file);
        file.write_all(&[0; HEADER_BYTES]).map_err(|cause| cannot_write(path, &cause))?;
        let id_bytes = if vocab_size <= 1 << 16 { 2 } else { 4 };
        let (hash, counts) = (Sha256::new(), TokenCounts::default());
        Ok(Self { path: path.to_path_buf(), temporary, file, hash, id_bytes, counts })
    }

    /// Appends one document of `text_bytes` bytes, already ended by its end-of-text token.
    ///
    /// Errors: an id that is too large for the vocabulary (65), a failed write (74).
    pub fn push(&mut self, ids: &[u32], text_bytes: usize) -> Result<()> {
        let mut bytes = Vec::with_capacity(ids.len() * self.id_bytes as usize);
        for id in ids {
            let id_bytes = id.to_le_bytes();
            let (kept, cut) = id_bytes.split_at(self.id_bytes as usize);
            if cut.iter().any(|byte| *byte != 0) {
                let why = "the tokenizer gives it, but its vocabulary has no such id";
                return Err(Error::data(format!("token id {id}: {why}; use another tokenizer.json")));
            }
            bytes.extend_from_slice(kept);
        }
        self.hash.update(&bytes);
        self.file.write_all(&bytes).map_err(|cause| cannot_write(&self.path, &cause))?;
        self.counts.tokens += ids.len() as u64;
        self.counts.documents += 1;
        self.counts.text_bytes += text_bytes as u64;
        Ok(())
    }

    /// Completes the header, syncs, renames.
    pub fn finish(mut self, key: &TokenKey) -> Result<()> {
        let mut header = header(self.id_bytes, &self.counts, key);
        let hash = content_sha256(std::mem::take(&mut self.hash), &header);
        header.extend_from_slice(hash.as_bytes());
        let file = &mut self.file;
        let done = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&header));
        let done = done.and_then(|()| file.flush()).and_then(|()| file.get_ref().sync_all());
        let done = done.and_then(|()| std::fs::rename(&self.temporary, &self.path));
        done.map_err(|cause| cannot_write(&self.path, &cause))?;
        // What a crash of the machine loses here is made again.
        files::sync_parent(&self.path)
    }
}

impl Drop for TokenWriter {
    fn drop(&mut self) {
        // Best effort; a finished file has taken its name already.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

/// A complete token file. Ids are read where they are asked for.
pub struct TokenFile {
    path: PathBuf,
    file: Mutex<File>,
    id_bytes: usize,
    /// What the ids were made from.
    pub counts: TokenCounts,
}

impl TokenFile {
    /// Opens `path` and checks every byte of it: that it is whole, belongs to `key` and has no id of `vocab_size` or
    /// more.
    ///
    /// Errors: missing (66); another magic, version, size, key or content (65).
    pub fn open(path: &Path, key: &TokenKey, vocab_size: usize) -> Result<Self> {
        files::check_regular(path)?;
        let reading = |cause: std::io::Error| Error::reading(path, &cause);
        let mut file = File::open(path).map_err(reading)?;
        let mut found = [0; HEADER_BYTES];
        let length = file.metadata().map_err(reading)?.len();
        if length < HEADER_BYTES as u64 {
            return Err(damaged(path, format_args!("{length} bytes without the header of a token file")));
        }
        file.read_exact(&mut found).map_err(reading)?;
        let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| found[at + i]));
        let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| found[at + i]));
        let (version, id_bytes) = (u32_at(8), u32_at(12));
        if &found[..8] != MAGIC || version != VERSION || !matches!(id_bytes, 2 | 4) {
            return Err(damaged(path, format_args!("version {version}, expected {VERSION}")));
        }
        let [tokens, documents, text_bytes, cut, left_out] = std::array::from_fn(|i| u64_at(16 + 8 * i));
        let counts = TokenCounts { tokens, documents, text_bytes, cut, left_out };
        let id_bytes_all = tokens.checked_mul(u64::from(id_bytes));
        if id_bytes_all.and_then(|bytes| bytes.checked_add(HEADER_BYTES as u64)) != Some(length) {
            return Err(damaged(
                path,
                format_args!("{length} bytes for {tokens} tokens of {id_bytes} bytes"),
            ));
        }
        let (before, hash) = found.split_at(HEADER_BYTES - HASH_DIGITS);
        if before != header(id_bytes, &counts, key) {
            return Err(damaged(path, "it belongs to other data or another tokenizer"));
        }
        let (ids, largest) = read_all(&mut file, id_bytes as usize).map_err(reading)?;
        if content_sha256(ids, before).as_bytes() != hash {
            return Err(damaged(path, "its content does not match its hash"));
        }
        if largest.is_some_and(|id| id as usize >= vocab_size) {
            return Err(damaged(path, format_args!("it has ids above the {vocab_size} of the vocabulary")));
        }
        Ok(Self { path: path.into(), file: Mutex::new(file), id_bytes: id_bytes as usize, counts })
    }

    /// Ids `start..start + count`; fewer at the end of the file.
    ///
    /// Errors: the file was cut since it was opened (65), a failed read (74).
    pub fn ids(&self, start: u64, count: usize) -> Result<Vec<u32>> {
        let end = (start + count as u64).min(self.counts.tokens);
        let mut bytes = vec![0; end.saturating_sub(start) as usize * self.id_bytes];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let place = SeekFrom::Start(HEADER_BYTES as u64 + start * self.id_bytes as u64);
        let read = file.seek(place).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(|cause| match cause.kind() {
            std::io::ErrorKind::UnexpectedEof => damaged(&self.path, "it was cut while in use"),
            _ => Error::reading(&self.path, &cause),
        })?;
        Ok(decoded(&bytes, self.id_bytes).collect())
    }
}

fn damaged(path: &Path, why: impl std::fmt::Display) -> Error {
    let hint = "delete it, it is made again from the text";
    Error::data(format!("token file {} is damaged: {why}; {hint}", path.display()))
}

/// Reads to the end: hash and largest id.
fn read_all(file: &mut File, id_bytes: usize) -> std::io::Result<(Sha256, Option<u32>)> {
    let (mut hash, mut largest) = (Sha256::new(), None);
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    loop {
        piece.clear();
        // Whole ids: the size of a piece is a multiple of theirs.
        if (&*file).take(PIECE_BYTES as u64).read_to_end(&mut piece)? == 0 {
            return Ok((hash, largest));
        }
        hash.update(&piece);
        largest = largest.max(decoded(&piece, id_bytes).max());
    }
}

fn decoded(bytes: &[u8], id_bytes: usize) -> impl Iterator<Item = u32> + '_ {
    bytes
        .chunks_exact(id_bytes)
        .map(|bytes| bytes.iter().rev().fold(0, |id, byte| id << 8 | u32::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCABULARY: usize = 1000;

    fn key() -> TokenKey {
        TokenKey { data_sha256: "d".repeat(64), tokenizer_sha256: "t".repeat(64) }
    }

    fn written(vocab_size: usize) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.tokens");
        let mut writer = TokenWriter::create(&path, vocab_size).unwrap();
        writer.push(&[5, 300, 1], 7).unwrap();
        writer.push(&[9, 1], 2).unwrap();
        writer.counts.left_out = 3;
        writer.finish(&key()).unwrap();
        (folder, path)
    }

    #[test]
    fn ids_come_back_in_both_widths() {
        for vocab_size in [1 << 16, 1 << 17] {
            let (_folder, path) = written(vocab_size);
            let file = TokenFile::open(&path, &key(), vocab_size).unwrap();
            let counts = TokenCounts { tokens: 5, documents: 2, text_bytes: 9, cut: 0, left_out: 3 };
            assert_eq!(file.counts, counts);
            assert_eq!(file.ids(1, 3).unwrap(), [300, 1, 9]);
            assert_eq!(file.ids(4, 10).unwrap(), [1]);
            assert_eq!(file.ids(5, 10).unwrap(), [0; 0]);
        }
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let (_folder, path) = written(VOCABULARY);
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            let error =
                TokenFile::open(&path, &key(), VOCABULARY).err().unwrap_or_else(|| panic!("byte {at}"));
            assert_eq!(error.kind, crate::error::ErrorKind::BadData, "{error}");
            assert!(error.to_string().contains("x.tokens is damaged"), "{error}");
        }
        for (what, bytes) in [
            ("cut short", good[..good.len() - 1].to_vec()),
            ("longer", [&good[..], &[0]].concat()),
            ("empty", Vec::new()),
            ("only half a header", good[..50].to_vec()),
            ("huge count", [&good[..16], &[0xff; 8], &good[24..]].concat()),
        ] {
            std::fs::write(&path, bytes).unwrap();
            assert!(TokenFile::open(&path, &key(), VOCABULARY).is_err(), "{what}");
        }
    }

    #[test]
    fn ids_that_the_vocabulary_lacks_are_refused() {
        let (_folder, path) = written(VOCABULARY);
        assert!(TokenFile::open(&path, &key(), 301).is_ok());
        let error = TokenFile::open(&path, &key(), 300).err().unwrap().to_string();
        assert!(error.contains("above the 300 of the vocabulary; delete it"), "{error}");
        let mut writer = TokenWriter::create(&path, VOCABULARY).unwrap();
        let error = writer.push(&[1, 65_541], 1).unwrap_err().to_string();
        assert!(error.contains("token id 65541"), "{error}");
    }

    #[test]
    fn a_file_cut_in_use_is_an_error_and_a_writer_that_fails_leaves_nothing() {
        let (folder, path) = written(VOCABULARY);
        let file = TokenFile::open(&path, &key(), VOCABULARY).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(HEADER_BYTES as u64 + 4).unwrap();
        assert_eq!(file.ids(0, 2).unwrap(), [5, 300]);
        assert!(file.ids(0, 3).unwrap_err().to_string().contains("cut while in use"));
        let mut writer = TokenWriter::create(&path, VOCABULARY).unwrap();
        writer.push(&[1], 1).unwrap();
        drop(writer);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
