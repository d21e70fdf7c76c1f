//! Files that are whole or absent, and their SHA-256.
//!
//! Layer 0. A new content goes to a temporary sibling, reaches the disk, then takes the name.

pub mod gguf;

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Age from which a temporary of another machine counts as left behind: no write takes that long.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

/// Replaces `path` by `bytes`; after a crash it holds the old or the new content, never a part.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic_pieces(path, [Ok(bytes)])
}

/// As `write_atomic`, for content that comes in pieces.
pub fn write_atomic_pieces<B: AsRef<[u8]>>(
    path: &Path,
    pieces: impl IntoIterator<Item = Result<B>>,
) -> Result<()> {
    let temporary = temporary(path);
    write(&temporary, path, pieces)?;
    fs::rename(&temporary, path).map_err(|cause| {
        // Best effort, as for a failed write.
        let _ = fs::remove_file(&temporary);
        Error::writing(path, &cause)
    })?;
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
    write(path, path, pieces)
}

/// Writes `path`; errors speak of `target`.
fn write<B: AsRef<[u8]>>(
    path: &Path,
    target: &Path,
    pieces: impl IntoIterator<Item = Result<B>>,
) -> Result<String> {
    let writing = |cause: std::io::Error| Error::writing(target, &cause);
    let write = || -> Result<String> {
        let mut hash = Sha256::new();
        let mut file = BufWriter::with_capacity(1 << 16, File::create(path).map_err(writing)?);
        for piece in pieces {
            let piece = piece?;
            hash.update(&piece);
            file.write_all(piece.as_ref()).map_err(writing)?;
        }
        let file = file.into_inner().map_err(|cause| writing(cause.into_error()))?;
        file.sync_all().map_err(writing)?;
        Ok(hex(hash.finalize().as_slice()))
    };
    write().inspect_err(|_| {
        // Best effort: what is left of a failed write is of no use to anybody.
        let _ = fs::remove_file(path);
    })
}

/// A name beside `path` that no other write uses, of this process or another: `.NAME.MACHINE-PID-N.tmp`.
pub fn temporary(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    path.with_file_name(format!(".{name}.{}-{process}-{count}.tmp", machine()))
}

/// Machine and process number in the name of a temporary.
fn owner(path: &Path) -> Option<(&str, u32)> {
    let name = path.file_name()?.to_str()?.strip_prefix('.')?.strip_suffix(".tmp")?;
    let mut parts = name.rsplit_once('.')?.1.splitn(3, '-');
    let (machine, process, count) = (parts.next()?, parts.next()?, parts.next()?);
    let known = machine.len() == MACHINE_DIGITS && machine.bytes().all(|byte| byte.is_ascii_hexdigit());
    count.parse::<u64>().ok().filter(|_| known)?;
    Some((machine, process.parse().ok()?))
}

/// Whether `path` is named as a temporary of this program.
pub fn is_temporary(path: &Path) -> bool {
    owner(path).is_some()
}

/// Removes temporaries in a `folder` that only this process writes.
pub fn sweep(folder: &Path) {
    remove_temporaries(folder, |path| owner(path).is_some_and(|(_, process)| process != std::process::id()));
}

/// Removes temporaries in a `folder` that others may be writing too: those whose process is gone.
pub fn sweep_shared(folder: &Path) {
    let old = |path: &Path| {
        let changed = fs::symlink_metadata(path).and_then(|data| data.modified());
        changed.is_ok_and(|changed| changed.elapsed().is_ok_and(|age| age > FORGOTTEN))
    };
    remove_temporaries(folder, |path| {
        owner(path)
            .is_some_and(|(machine_of, process)| (machine_of == machine() && !is_alive(process)) || old(path))
    });
}

fn remove_temporaries(folder: &Path, gone: impl Fn(&Path) -> bool) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if gone(&path) {
            // Best effort: what cannot be removed is in nobody's way.
            let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        }
    }
}

/// Whether something is at `path`.
///
/// Errors: that cannot be known (66, 74).
pub fn exists(path: &Path) -> Result<bool> {
    match path.try_exists() {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotADirectory => Ok(false),
        known => known.map_err(|cause| Error::reading(path, &cause)),
    }
}

/// What is in `folder`, sorted, so that what is said of it does not depend on the file system; nothing where it is not
/// there.
///
/// Errors: it cannot be read (66, 74).
pub fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    let entries = match fs::read_dir(folder) {
        Err(cause) if matches!(cause.kind(), NotFound | NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries.map_err(|cause| Error::reading(folder, &cause))?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut found: Vec<PathBuf> =
        paths.collect::<std::io::Result<_>>().map_err(|cause| Error::reading(folder, &cause))?;
    found.sort();
    Ok(found)
}

const MACHINE_DIGITS: usize = 8;

/// Tells apart where process numbers mean different processes: machines, and containers on one.
fn machine() -> &'static str {
    static MACHINE: OnceLock<String> = OnceLock::new();
    MACHINE.get_or_init(|| {
        let host = fs::read("/proc/sys/kernel/hostname").unwrap_or_default();
        let container = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let both = [&host, container.as_os_str().as_encoded_bytes()].concat();
        sha256(&both)[..MACHINE_DIGITS].to_string()
    })
}

#[cfg(unix)]
fn is_alive(process: u32) -> bool {
    let Ok(process) = i32::try_from(process) else { return false };
    // SAFETY: signal 0 is never delivered; the call only asks whether the process is there.
    let found = unsafe { libc::kill(process, 0) };
    found == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

#[cfg(not(unix))]
fn is_alive(_: u32) -> bool {
    true
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

/// The path without links and `..`, where it is there or will be.
///
/// Errors: the working directory is gone (73).
pub fn place_of(path: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(path).map_err(|cause| Error::writing(path, &cause))?;
    let there = absolute.ancestors().find_map(|part| Some((part, part.canonicalize().ok()?)));
    let Some((part, mut place)) = there else { return Ok(absolute) };
    for name in absolute.strip_prefix(part).unwrap_or(Path::new("")).components() {
        match name {
            Component::ParentDir => drop(place.pop()),
            name => place.push(name),
        }
    }
    Ok(place)
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

/// The beginnings of two hashes, long enough to tell them apart.
pub fn beginnings<'a>(one: &'a str, other: &'a str) -> (&'a str, &'a str) {
    let same = one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count();
    let beginning = |hash: &'a str| hash.get(..(same + 1).max(12)).unwrap_or(hash);
    (beginning(one), beginning(other))
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporaries_are_swept_once_their_process_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let own = temporary(&folder.path().join("run.json"));
        assert_ne!(own, temporary(&folder.path().join("run.json")), "two writes of one process are apart");
        // Above the largest process number that Linux gives out.
        let of = |machine: &str| folder.path().join(format!(".x.{machine}-4194305-0.tmp"));
        let (dead, elsewhere) = (of(machine()), of("00000000"));
        let foreign = [".notes.tmp", "x.tmp", ".x.mine-1-2.tmp"].map(|name| folder.path().join(name));
        let all = || foreign.iter().chain([&own, &dead, &elsewhere]);
        all().for_each(|path| fs::write(path, "x").unwrap());
        let left = || all().filter(|path| path.exists()).count();
        sweep_shared(folder.path());
        assert!(left() == 5 && !dead.exists(), "that of a process that is gone alone");
        sweep(folder.path());
        assert!(left() == 4 && own.exists() && !elsewhere.exists(), "all but this process's own");
    }

    #[test]
    fn hashes_are_shown_as_far_as_they_differ() {
        let (one, other) = ("a".repeat(64), "a".repeat(40) + &"b".repeat(24));
        let shown = beginnings(&one, &other);
        assert!(shown.0 != shown.1 && shown.0.len() == 41);
        assert_eq!(beginnings("0123456789abcdef", "1").0, "0123456789ab");
    }

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
