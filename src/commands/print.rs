//! Standard output: results, and only results.

use std::io::Write;

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};

/// Prints a text.
///
/// Errors: it cannot be written (74).
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        // Whoever reads has seen enough, as `head` does: no failure.
        Err(cause) if cause.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => {
            written.map_err(|cause| Error::new(ErrorKind::Io, format!("cannot write results: {cause}")))
        }
    }
}

/// Prints `value` as one JSON object on a line.
pub fn print_json(value: &impl Serialize) -> Result<()> {
    let value = serde_json::to_value(value).map_err(Error::data)?;
    print(&format!("{value}\n"))
}
