//! The one error type: what failed, where, why and what to do, with the exit code it leads to.
//!
//! Layer 0. Errors are made where the cause is known; `main` prints one line and exits.

use std::fmt::Display;
use std::path::Path;

/// Result with the program's own error.
pub type Result<T> = std::result::Result<T, Error>;

/// Process exit code by cause. Source: the README's table of exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Any failure without a code of its own.
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
    /// Reading or writing failed, disk full included.
    Io,
    /// The network or the other side fails; another try may work.
    TryAgain,
    /// Loss or gradients are not finite.
    Diverged,
    /// Stopped by this signal with a checkpoint saved.
    Signal(i32),
}

impl Exit {
    /// The number handed to the operating system.
    pub fn code(self) -> i32 {
        match self {
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Gate => 3,
            Exit::BadData => 65,
            Exit::MissingInput => 66,
            Exit::Device => 69,
            Exit::Output => 73,
            Exit::Io => 74,
            Exit::TryAgain => 75,
            Exit::Diverged => 76,
            Exit::Signal(n) => 128 + n,
        }
    }
}

/// A failure with its exit code. The message is one line: what, where, why; what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Decides the exit code.
    pub exit: Exit,
    message: String,
}

impl Error {
    /// Makes an error; line breaks in the message are folded into spaces.
    pub fn new(exit: Exit, message: impl Display) -> Self {
        let message = message.to_string();
        let message = message.split('\n').map(str::trim).filter(|part| !part.is_empty());
        Self { exit, message: message.collect::<Vec<_>>().join(" ") }
    }

    /// Wrong command line or config (exit 2).
    pub fn usage(message: impl Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Damaged or unsuitable data (exit 65).
    pub fn data(message: impl Display) -> Self {
        Self::new(Exit::BadData, message)
    }

    /// A failed read of an input: missing or unreadable is exit 66, anything else 74.
    pub fn reading(path: &Path, cause: &std::io::Error) -> Self {
        use std::io::ErrorKind::{IsADirectory, NotFound, PermissionDenied};
        let (exit, hint) = match cause.kind() {
            NotFound => (Exit::MissingInput, "; check the path, it is relative to the working directory"),
            PermissionDenied => (Exit::MissingInput, "; check the permissions"),
            IsADirectory => (Exit::MissingInput, "; name a file in it"),
            _ => (Exit::Io, ""),
        };
        Self::new(exit, format!("cannot read {}: {cause}{hint}", path.display()))
    }

    /// A failed write (exit 74; 73 where the place itself cannot be created).
    pub fn writing(path: &Path, cause: &std::io::Error) -> Self {
        use std::io::ErrorKind::{
            NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem, StorageFull,
        };
        let (exit, hint) = match cause.kind() {
            NotFound | NotADirectory | PermissionDenied | ReadOnlyFilesystem => {
                (Exit::Output, "; choose another output_dir or fix its permissions")
            }
            StorageFull => (Exit::Io, "; free space and go on with --resume"),
            _ => (Exit::Io, ""),
        };
        Self::new(exit, format!("cannot write {}: {cause}{hint}", path.display()))
    }
}
