//! `metrics.jsonl`: one event a line. It may be larger than memory and is read line by line.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::path::Path;

use serde_json::{Map, Value};

use super::contents::DAMAGED_LINES;
use crate::error::{Error, Result};
use crate::{files, tensorboard};

const FILE: &str = "metrics.jsonl";

/// Longest line, bytes; events have some hundred.
const LONGEST: u64 = 1 << 16;

/// An event, with its keys in the order they were written.
pub type Event = Map<String, Value>;

/// A line of the log.
pub enum Line {
    /// One event, and the bytes it was read from.
    Event(Event, Vec<u8>),
    /// No event: the bytes of the line, or a part of one that is too long.
    Damaged(Vec<u8>),
}

/// The lines of a log. A last line that a crash cut short is left out.
pub struct Lines {
    file: BufReader<File>,
    /// Whether a line that is too long goes on.
    inside: bool,
    /// Lines so far that are no event.
    pub damaged: usize,
}

impl Lines {
    /// Of the run at `path`; none where it has no log.
    ///
    /// Errors: the log cannot be read (66, 74).
    pub fn of(path: &Path) -> Result<Option<Self>> {
        let path = path.join(FILE);
        match File::open(&path) {
            Ok(file) => Ok(Some(Self { file: BufReader::new(file), inside: false, damaged: 0 })),
            Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(Error::reading(&path, &cause)),
        }
    }
}

impl Iterator for Lines {
    type Item = std::io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut bytes = Vec::new();
        if let Err(cause) = self.file.by_ref().take(LONGEST).read_until(b'\n', &mut bytes) {
            return Some(Err(cause));
        }
        let is_last = !bytes.ends_with(b"\n") && (bytes.len() as u64) < LONGEST;
        let ended = is_last || bytes.ends_with(b"\n");
        let event = if ended && !self.inside { serde_json::from_slice(&bytes).ok() } else { None };
        if bytes.is_empty() || (is_last && event.is_none() && !self.inside) {
            return None;
        }
        if is_last {
            bytes.push(b'\n');
        }
        self.damaged += usize::from(event.is_none() && !self.inside);
        self.inside = !ended;
        Some(
            Ok(event.map_or_else(|| Line::Damaged(bytes.clone()), |event| Line::Event(event, bytes.clone()))),
        )
    }
}

/// Waits until the log of the run at `path` is on the disk; one that was taken away does no harm.
pub fn sync(path: &Path) -> Result<()> {
    let path = path.join(FILE);
    match OpenOptions::new().append(true).open(&path).and_then(|file| file.sync_all()) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => Err(Error::writing(&path, &cause)),
        _ => files::sync_parent(&path),
    }
}

/// Drops events after `step` from the log of the run at `path`, so that a resumed run logs each step once. Damaged lines
/// move to a file of their own; returns how many, and what `keep` makes of the events that are left.
///
/// Errors: the log cannot be read or written (66, 73, 74).
pub fn rewind<T>(path: &Path, step: u64, keep: impl Fn(&Event) -> Option<T>) -> Result<(Vec<T>, usize)> {
    let Some(mut lines) = Lines::of(path)? else { return Ok((Vec::new(), 0)) };
    let (mut kept, mut elapsed) = (Vec::new(), 0.0);
    let mut aside = Aside { path, file: None };
    let pieces = lines.by_ref().filter_map(|line| match line {
        Ok(Line::Event(event, bytes)) => {
            let at = event.get("step").and_then(Value::as_u64);
            at.is_none_or(|at| at <= step).then(|| {
                elapsed = tensorboard::elapsed(&event);
                kept.extend(keep(&event));
                Ok(bytes)
            })
        }
        Ok(Line::Damaged(bytes)) => aside.add(&bytes).err().map(Err),
        Err(cause) => Some(Err(Error::reading(&path.join(FILE), &cause))),
    });
    files::write_atomic_pieces(&path.join(FILE), pieces)?;
    let damaged = lines.damaged;
    let events = Lines::of(path)?.into_iter().flatten().filter_map(|line| match line {
        Ok(Line::Event(event, _)) => Some(event),
        _ => None,
    });
    tensorboard::rewrite(&path.join("tb"), elapsed, events)?;
    Ok((kept, damaged))
}

/// Where damaged lines are kept.
struct Aside<'a> {
    path: &'a Path,
    file: Option<File>,
}

impl Aside<'_> {
    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        let path = self.path.join(DAMAGED_LINES);
        let mut write = || -> std::io::Result<()> {
            let file = match &mut self.file {
                Some(file) => file,
                none => none.insert(File::options().create(true).append(true).open(&path)?),
            };
            file.write_all(bytes)
        };
        write().map_err(|cause| Error::writing(&path, &cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_lines_are_counted_and_kept_aside_and_those_after_them_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let event = |step: u64| format!("{{\"step\":{step},\"val_loss\":0.5}}\n").into_bytes();
        let long = [vec![b'x'; 3 * LONGEST as usize], b"\n".to_vec()].concat();
        let damaged = [&b"{\"step\":2,\n"[..], b"\xff\xfe\n", &long].concat();
        let log = [event(1), damaged.clone(), event(3), event(4), b"{\"step\":4,\"va".to_vec()].concat();
        std::fs::write(folder.path().join(FILE), log).unwrap();
        let steps = |event: &Event| event.get("step").and_then(Value::as_u64);
        assert_eq!(rewind(folder.path(), 3, steps).unwrap(), (vec![1, 3], 3));
        let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        assert_eq!(read(FILE), [event(1), event(3)].concat());
        assert!(read(DAMAGED_LINES) == damaged, "the damaged lines are not those that were there");
        assert_eq!(rewind(folder.path(), 3, steps).unwrap(), (vec![1, 3], 0));
    }
}
