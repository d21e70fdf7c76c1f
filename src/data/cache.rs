//! The folder of tokenised text. Entries are named by what they were made from, and each is made once, whoever asks.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::progress::Progress;

/// `data.cache_dir`.
pub(super) struct Cache<'a> {
    folder: &'a Path,
    progress: &'a Progress,
}

impl<'a> Cache<'a> {
    /// Makes the folder where it is missing, and removes what killed runs left in it.
    pub(super) fn open(folder: &'a Path, progress: &'a Progress) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|cause| cannot_write(folder, &cause))?;
        files::sweep_shared(folder);
        Ok(Self { folder, progress })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Calls `make` unless `is_there`; other runs that want the same entry wait meanwhile.
    pub(super) fn make(
        &self,
        entry: &str,
        is_there: impl Fn() -> bool,
        make: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        if is_there() {
            return Ok(());
        }
        let _making = Making::wait(&self.path(&format!("{entry}.lock")), self.progress)?;
        if is_there() { Ok(()) } else { make() }
    }
}

/// The lock of an entry. Every writer has a temporary file of its own, so without a lock work would only be done twice.
struct Making {
    path: PathBuf,
    _file: File,
}

impl Making {
    fn wait(path: &Path, progress: &Progress) -> Result<Self> {
        let file = File::options().create(true).truncate(false).write(true).open(path);
        let file = file.map_err(|cause| cannot_write(path, &cause))?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            progress.note("waiting for another run that tokenises the same text");
            // Where waiting fails, this run does the work itself.
            let _ = file.lock();
        }
        Ok(Self { path: path.into(), _file: file })
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        // Best effort: an empty file is in nobody's way.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A failed write in the cache (73, 74), which may lie elsewhere than the run.
pub(super) fn cannot_write(path: &Path, cause: &io::Error) -> Error {
    let kind = Error::writing(path, cause).kind;
    let hint = match kind {
        ErrorKind::Output => "; choose another data.cache_dir or fix its permissions",
        _ if cause.kind() == io::ErrorKind::StorageFull => "; free space or choose another data.cache_dir",
        _ => "",
    };
    Error::new(kind, format!("cannot write {}: {cause}{hint}", path.display()))
}

/// A failed write of another part of the program, told as one in the cache.
pub(super) fn about_cache(path: &Path, error: Error) -> Error {
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.map(|cause| cannot_write(path, cause)).unwrap_or(error)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn an_entry_is_made_once_however_many_want_it() {
        let folder = tempfile::tempdir().unwrap();
        let (entry, made) = (folder.path().join("entry"), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let progress = Progress::silent();
                    let cache = Cache::open(folder.path(), &progress).unwrap();
                    let make = || {
                        made.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(std::time::Duration::from_millis(50));
                        std::fs::write(&entry, "x").map_err(|cause| cannot_write(&entry, &cause))
                    };
                    cache.make("entry", || entry.exists(), make).unwrap();
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no lock stays");
    }

    #[test]
    fn what_a_killed_run_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let living = files::temporary(&folder.path().join("x.tokens"));
        // Above the largest process number that Linux gives out.
        let own = format!("-{}-", std::process::id());
        let dead = PathBuf::from(living.display().to_string().replace(&own, "-4194305-"));
        [&living, &dead].into_iter().for_each(|path| std::fs::write(path, "x").unwrap());
        Cache::open(folder.path(), &Progress::silent()).map(drop).unwrap();
        assert!(living.exists() && (cfg!(not(unix)) || !dead.exists()));
    }

    #[test]
    fn a_folder_that_cannot_be_made_names_its_key() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "x").unwrap();
        let error = Cache::open(&folder.path().join("file/cache"), &Progress::silent()).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Output);
        assert!(error.to_string().contains("data.cache_dir") && !error.to_string().contains("output_dir"));
    }
}
