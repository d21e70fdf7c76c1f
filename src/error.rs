//! The one error type: what failed, where, why and what to do.
//!
//! Layer 0. Errors are made where the cause is known; the program prints one line and exits by their kind.

use std::fmt::Display;
use std::io;
use std::path::Path;

/// Result with the program's own error.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, so that a caller can tell cases apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Any failure without a kind of its own.
    Failed,
    /// Wrong command line or config.
    Usage,
    /// A gate such as `--fail-under` failed.
    Gate,
    /// The data is damaged or not what was promised.
    BadData,
    /// An input file is missing or unreadable.
    MissingInput,
    /// The device is missing or out of memory.
    Device,
    /// The output exists, is locked or cannot be created.
    Output,
    /// A fault of this program.
    Bug,
    /// Reading or writing failed, disk full included.
    Io,
    /// The network or the other side fails; another try may work.
    TryAgain,
    /// Loss or gradients are not finite.
    Diverged,
    /// Stopped by this signal; a training has saved a checkpoint.
    Interrupted(i32),
}

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A failure. The message is one line: what, where, why; what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What went wrong.
    pub kind: ErrorKind,
    message: String,
    #[source]
    source: Option<Source>,
}

impl Error {
    /// Makes an error; line breaks in the message are folded into spaces. What a file put into it cannot make it
    /// long, or steer a terminal.
    pub fn new(kind: ErrorKind, message: impl Display) -> Self {
        let message = message.to_string();
        let message = message.split('\n').map(str::trim).filter(|part| !part.is_empty());
        let message = message.collect::<Vec<_>>().join(" ").replace(char::is_control, "\u{fffd}");
        Self { kind, message: shortened(message), source: None }
    }

    /// This error with what caused it.
    pub fn caused_by(self, source: impl Into<Source>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// Wrong command line or config (exit 2).
    pub fn usage(message: impl Display) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// A value that may not be: `key` is `value`; it must `range` (exit 2).
    pub fn outside(key: &str, value: impl Display, range: impl Display) -> Self {
        Self::usage(format!("{key} is {value}; it must {range}"))
    }

    /// Damaged or unsuitable data (exit 65).
    pub fn data(message: impl Display) -> Self {
        Self::new(ErrorKind::BadData, message)
    }

    /// A model whose loss, probabilities or logits are no numbers (exit 76, of a model that was loaded 65).
    pub fn not_finite() -> Self {
        let why =
            "the model answers with numbers that are not finite: its weights are damaged or far too large";
        Self::new(ErrorKind::Diverged, format!("{why}; take another model or an earlier checkpoint"))
    }

    /// A failed read of an input: missing or unreadable is exit 66, anything else 74.
    pub fn reading(path: &Path, cause: &io::Error) -> Self {
        use io::ErrorKind::{IsADirectory, NotFound, PermissionDenied};
        let (kind, hint) = match cause.kind() {
            NotFound => {
                (ErrorKind::MissingInput, "; check the path, it is relative to the working directory")
            }
            PermissionDenied => (ErrorKind::MissingInput, "; check the permissions"),
            IsADirectory => (ErrorKind::MissingInput, "; name a file in it"),
            _ => (ErrorKind::Io, ""),
        };
        Self::new(kind, format!("cannot read {}: {cause}{hint}", path.display())).caused_by(copy(cause))
    }

    /// A failed write (exit 74; 73 where the place itself cannot be created).
    pub fn writing(path: &Path, cause: &io::Error) -> Self {
        use io::ErrorKind::{
            AlreadyExists, DirectoryNotEmpty, FileTooLarge, IsADirectory, NotADirectory, NotFound,
            PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
        };
        let (kind, hint) = match cause.kind() {
            NotFound | PermissionDenied | ReadOnlyFilesystem => {
                (ErrorKind::Output, "; choose another place or fix its permissions")
            }
            AlreadyExists | DirectoryNotEmpty | IsADirectory | NotADirectory => {
                (ErrorKind::Output, "; choose another place")
            }
            StorageFull | QuotaExceeded => (ErrorKind::Io, "; free space and try again"),
            FileTooLarge => (ErrorKind::Io, "; raise the limit on the size of files (ulimit -f)"),
            _ => (ErrorKind::Io, ""),
        };
        Self::new(kind, format!("cannot write {}: {cause}{hint}", path.display())).caused_by(copy(cause))
    }
}

/// The message without its middle where it is very long: place and advice stand at its ends.
fn shortened(message: String) -> String {
    const MAX_CHARS: usize = 2000;
    let count = message.chars().count();
    if count <= MAX_CHARS {
        return message;
    }
    let (head, tail) = (MAX_CHARS * 3 / 4, MAX_CHARS / 4);
    let part = |from: usize, chars: usize| message.chars().skip(from).take(chars).collect::<String>();
    format!("{} … {}", part(0, head), part(count - tail, tail))
}

fn copy(cause: &io::Error) -> io::Error {
    cause
        .raw_os_error()
        .map_or_else(|| io::Error::new(cause.kind(), cause.to_string()), io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_hostile_name_makes_no_message_long_and_sends_nothing_to_a_terminal() {
        let error =
            Error::data(format!("x.json: key {}\u{1b}[2J\r{} is wrong; mend it", "a", "ü".repeat(1 << 20)));
        let text = error.to_string();
        assert!(text.starts_with("x.json: key a\u{fffd}[2J\u{fffd}ü") && text.ends_with("is wrong; mend it"));
        assert!(text.chars().count() < 2010);
    }

    #[test]
    fn the_cause_of_an_error_is_kept_and_its_message_is_one_line() {
        let missing = std::fs::read("none").unwrap_err();
        let error = Error::reading(Path::new("none"), &missing);
        let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
        assert_eq!(
            (error.kind, source.kind(), source.to_string()),
            (ErrorKind::MissingInput, io::ErrorKind::NotFound, missing.to_string())
        );
        let error = Error::data("two\n  lines").caused_by(io::Error::other("ours"));
        assert_eq!(
            (error.to_string(), error.source().unwrap().to_string()),
            ("two lines".into(), "ours".into())
        );
        assert!(Error::usage("no cause").source().is_none());
    }
}
