//! `run.lock`: one process writes a run at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use super::contents::LOCK;
use crate::error::{Error, ErrorKind, Result};

/// Takes the lock in `path`; the operating system frees it when the process ends, however it ends.
pub fn lock(path: &Path, cannot: impl Fn(&std::io::Error) -> Error) -> Result<File> {
    let name = path.join(LOCK);
    let options = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&name);
    let mut file = options.map_err(|cause| cannot(&cause))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let why = format!("output_dir {} is locked by {}", path.display(), written(&mut file));
            return Err(Error::new(
                ErrorKind::Output,
                format!("{why}; wait for it or choose another output_dir"),
            ));
        }
        Err(TryLockError::Error(cause)) => return Err(cannot(&cause)),
    }
    let pid = std::process::id().to_string();
    file.set_len(0).and_then(|()| file.write_all(pid.as_bytes())).map_err(|cause| cannot(&cause))?;
    Ok(file)
}

/// The process that writes the run at `path`, where one does.
pub fn holder(path: &Path) -> Option<String> {
    let mut file = File::open(path.join(LOCK)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(written(&mut file)),
        _ => None,
    }
}

/// Best effort: the number only makes a message more helpful.
fn written(file: &mut File) -> String {
    let mut holder = String::new();
    let _ = file.read_to_string(&mut holder);
    match holder.trim() {
        "" => "another process".into(),
        number => format!("process {number}"),
    }
}
