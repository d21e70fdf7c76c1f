//! Token ids on disk, memory-mapped: a header that says what they belong to, then the ids.
//!
//! Layout, little-endian: magic "TRAINTOK", version u32, bytes per id u32, tokens u64, documents u64,
//! text bytes u64, SHA-256 of the data and of the tokenizer (64 hexadecimal digits each), ids.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::error::{Error, Result};
use crate::files;

const MAGIC: &[u8; 8] = b"TRAINTOK";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 8 + 4 + 4 + 8 + 8 + 8 + 64 + 64;

/// What the ids belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenKey {
    /// SHA-256 of the corpus.
    pub data_sha256: String,
    /// SHA-256 of tokenizer.json.
    pub tokenizer_sha256: String,
}

/// Writes a token file; it takes its name only when it is complete.
pub struct TokenWriter {
    path: PathBuf,
    temporary: PathBuf,
    file: BufWriter<File>,
    id_bytes: u32,
    tokens: u64,
    documents: u64,
    text_bytes: u64,
}

impl TokenWriter {
    /// Starts the file; ids take two bytes when `vocab_size` allows.
    pub fn create(path: &Path, vocab_size: usize) -> Result<Self> {
        // Two runs may fill the same cache at once: each writes its own temporary file.
        let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
        let file = File::create(&temporary).map_err(|cause| Error::writing(&temporary, &cause))?;
        let mut file = BufWriter::with_capacity(1 << 20, file);
        file.write_all(&[0; HEADER_BYTES]).map_err(|cause| Error::writing(&temporary, &cause))?;
        let id_bytes = if vocab_size <= 1 << 16 { 2 } else { 4 };
        let (tokens, documents, text_bytes) = (0, 0, 0);
        Ok(Self { path: path.to_path_buf(), temporary, file, id_bytes, tokens, documents, text_bytes })
    }

    /// Appends one document of `text_bytes` bytes, already ended by its end-of-text token.
    pub fn push(&mut self, ids: &[u32], text_bytes: usize) -> Result<()> {
        let write = |file: &mut BufWriter<File>| -> std::io::Result<()> {
            for id in ids {
                file.write_all(&id.to_le_bytes()[..self.id_bytes as usize])?;
            }
            Ok(())
        };
        write(&mut self.file).map_err(|cause| Error::writing(&self.temporary, &cause))?;
        self.tokens += ids.len() as u64;
        self.documents += 1;
        self.text_bytes += text_bytes as u64;
        Ok(())
    }

    /// Completes the header, syncs, renames.
    pub fn finish(mut self, key: &TokenKey) -> Result<()> {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&self.id_bytes.to_le_bytes());
        for count in [self.tokens, self.documents, self.text_bytes] {
            header.extend_from_slice(&count.to_le_bytes());
        }
        header.extend_from_slice(key.data_sha256.as_bytes());
        header.extend_from_slice(key.tokenizer_sha256.as_bytes());
        let file = &mut self.file;
        let done = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&header));
        let done = done.and_then(|()| file.flush()).and_then(|()| file.get_ref().sync_all());
        let done = done.and_then(|()| std::fs::rename(&self.temporary, &self.path));
        done.map_err(|cause| Error::writing(&self.path, &cause))?;
        files::sync_parent(&self.path)
    }
}

/// A complete token file, mapped into memory.
pub struct TokenFile {
    map: Mmap,
    id_bytes: usize,
    /// Number of ids.
    pub tokens: u64,
    /// Number of documents.
    pub documents: u64,
    /// Bytes of the text behind the ids.
    pub text_bytes: u64,
}

impl TokenFile {
    /// Opens `path` and checks that it is whole and belongs to `key`.
    ///
    /// Errors: missing (66); another magic, version, size or key (65).
    pub fn open(path: &Path, key: &TokenKey) -> Result<Self> {
        let damaged = |why: String| {
            let hint = "delete it, it is made again from the text";
            Error::data(format!("token file {} is damaged: {why}; {hint}", path.display()))
        };
        files::check_regular(path)?;
        let file = File::open(path).map_err(|cause| Error::reading(path, &cause))?;
        // SAFETY: the file is in our cache, was renamed into place when complete and is never written again.
        let map = unsafe { Mmap::map(&file) }.map_err(|cause| Error::reading(path, &cause))?;
        if map.len() < HEADER_BYTES || &map[..8] != MAGIC {
            return Err(damaged(format!("{} bytes without the header of a token file", map.len())));
        }
        let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| map[at + i]));
        let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| map[at + i]));
        let (version, id_bytes) = (u32_at(8), u32_at(12) as usize);
        if version != VERSION || !matches!(id_bytes, 2 | 4) {
            return Err(damaged(format!("version {version}, expected {VERSION}")));
        }
        let tokens = u64_at(16);
        let expected = tokens.checked_mul(id_bytes as u64).and_then(|n| n.checked_add(HEADER_BYTES as u64));
        if expected != Some(map.len() as u64) {
            return Err(damaged(format!("{} bytes for {tokens} tokens of {id_bytes} bytes", map.len())));
        }
        let text = |at: usize| String::from_utf8_lossy(&map[at..at + 64]).into_owned();
        let found = TokenKey { data_sha256: text(40), tokenizer_sha256: text(104) };
        if found != *key {
            return Err(damaged("it belongs to other data or another tokenizer".into()));
        }
        let (documents, text_bytes) = (u64_at(24), u64_at(32));
        Ok(Self { map, id_bytes, tokens, documents, text_bytes })
    }

    /// Ids `start..start + count`; fewer at the end of the file.
    pub fn ids(&self, start: u64, count: usize) -> Vec<u32> {
        let end = (start + count as u64).min(self.tokens);
        let at = |token: u64| HEADER_BYTES + token as usize * self.id_bytes;
        let bytes = &self.map[at(start.min(end))..at(end)];
        match self.id_bytes {
            2 => bytes.chunks_exact(2).map(|b| u32::from(u16::from_le_bytes([b[0], b[1]]))).collect(),
            _ => bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> TokenKey {
        TokenKey { data_sha256: "d".repeat(64), tokenizer_sha256: "t".repeat(64) }
    }

    fn written(vocab_size: usize) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.tokens");
        let mut writer = TokenWriter::create(&path, vocab_size).unwrap();
        writer.push(&[5, 300, 1], 7).unwrap();
        writer.push(&[9, 1], 2).unwrap();
        writer.finish(&key()).unwrap();
        (folder, path)
    }

    #[test]
    fn ids_come_back_in_both_widths() {
        for vocab_size in [1 << 16, 1 << 17] {
            let (_folder, path) = written(vocab_size);
            let file = TokenFile::open(&path, &key()).unwrap();
            assert_eq!((file.tokens, file.documents, file.text_bytes), (5, 2, 9));
            assert_eq!(file.ids(1, 3), [300, 1, 9]);
            assert_eq!(file.ids(4, 10), [1]);
        }
    }

    #[test]
    fn damaged_files_are_refused() {
        let (_folder, path) = written(1000);
        let good = std::fs::read(&path).unwrap();
        let flipped = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            bytes
        };
        for (what, bytes) in [
            ("cut short", good[..good.len() - 1].to_vec()),
            ("empty", Vec::new()),
            ("only half a header", good[..50].to_vec()),
            ("other magic", flipped(0)),
            ("other version", flipped(8)),
            ("other id width", flipped(12)),
            ("other count", flipped(16)),
            ("huge count", [&good[..16], &[0xff; 8], &good[24..]].concat()),
            ("other data", flipped(40)),
            ("other tokenizer", flipped(110)),
        ] {
            std::fs::write(&path, bytes).unwrap();
            assert!(TokenFile::open(&path, &key()).is_err(), "{what}");
        }
    }
}
