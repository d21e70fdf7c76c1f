//! Files that are whole or absent, and their SHA-256.
//!
//! Layer 0. A new content goes to a temporary sibling, reaches the disk, then takes the name.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Replaces `path` by `bytes`; after a crash it holds the old or the new content, never a part.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    write_synced(&temporary, bytes)?;
    fs::rename(&temporary, path).map_err(|cause| Error::writing(path, &cause))?;
    sync_parent(path)
}

/// Writes `path` and waits until the bytes are on the disk.
pub fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    write_pieces(path, [Ok(bytes)]).map(drop)
}

/// As `write_synced`, for content that comes in pieces; returns its SHA-256.
pub fn write_pieces<B: AsRef<[u8]>>(
    path: &Path,
    pieces: impl IntoIterator<Item = Result<B>>,
) -> Result<String> {
    let writing = |cause: std::io::Error| Error::writing(path, &cause);
    let write = || -> Result<String> {
        let mut hash = Sha256::new();
        let mut file = File::create(path).map_err(writing)?;
        for piece in pieces {
            let piece = piece?;
            hash.update(&piece);
            file.write_all(piece.as_ref()).map_err(writing)?;
        }
        file.sync_all().map_err(writing)?;
        Ok(hex(hash.finalize().as_slice()))
    };
    write().inspect_err(|_| {
        // Best effort: what is left of a failed write is of no use to anybody.
        let _ = fs::remove_file(path);
    })
}

/// Makes a rename in the folder of `path` survive a power cut.
pub fn sync_parent(path: &Path) -> Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Folders cannot be opened for syncing on Windows; the rename itself is all there is.
    if cfg!(windows) {
        return Ok(());
    }
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(|cause| Error::writing(parent, &cause))
}

/// Reads a whole regular file.
///
/// Errors: missing, unreadable, or not a regular file (a pipe would wait for ever): exit 66.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    check_regular(path)?;
    fs::read(path).map_err(|cause| Error::reading(path, &cause))
}

/// Reads a whole text file.
///
/// Errors: as `read`; not UTF-8 (65).
pub fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(read(path)?).map_err(|cause| {
        let at = cause.utf8_error().valid_up_to();
        Error::data(format!("{} (byte {at}): not UTF-8 text; it is damaged", path.display()))
    })
}

/// Errors: `path` is missing, a folder or not a regular file (exit 66).
pub fn check_regular(path: &Path) -> Result<()> {
    let kind = fs::metadata(path).map_err(|cause| Error::reading(path, &cause))?;
    if kind.is_file() {
        return Ok(());
    }
    let what = if kind.is_dir() { "a folder" } else { "not a regular file" };
    let why = format!("cannot read {}: it is {what}; name a file", path.display());
    Err(Error::new(crate::error::ErrorKind::MissingInput, why))
}

/// SHA-256 of some bytes as 64 hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes).as_slice())
}

/// SHA-256 of a file, read in pieces.
pub fn sha256_of(path: &Path) -> Result<String> {
    check_regular(path)?;
    let mut hash = Sha256::new();
    let mut file = File::open(path).map_err(|cause| Error::reading(path, &cause))?;
    let mut piece = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut piece).map_err(|cause| Error::reading(path, &cause))?;
        if read == 0 {
            return Ok(hex(hash.finalize().as_slice()));
        }
        hash.update(&piece[..read]);
    }
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_a_broken_byte_is_refused_and_not_repaired() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        fs::write(&path, b"seed = \xff1").unwrap();
        let error = read_text(&path).unwrap_err();
        assert_eq!(error.kind, crate::error::ErrorKind::BadData);
        assert!(error.to_string().contains("config.toml (byte 7): not UTF-8"), "{error}");
    }
}
