//! What runs left in their directories, read back.

use std::path::Path;

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::files;

/// The error of a model that was loaded: one that makes no numbers is bad data.
pub fn damaged(error: Error) -> Error {
    if error.kind == ErrorKind::Diverged { Error::data(error) } else { error }
}

/// The resolved config of the run at `path`.
///
/// Errors: none there (66); that of another kind of run (65).
pub fn config<C: Config>(path: &Path) -> Result<C> {
    let file = path.join("config.toml");
    let text = files::read_text(&file)?;
    toml::from_str(&text).map_err(|cause| Error::data(format!("{}: {}", file.display(), cause.message())))
}
