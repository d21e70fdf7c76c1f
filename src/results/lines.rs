//! Files of one JSON object a line.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::files;

/// Writes the file whole or not at all.
pub fn write_lines<T: Serialize>(path: &Path, values: impl IntoIterator<Item = T>) -> Result<()> {
    let mut text = String::new();
    for value in values {
        text += &serde_json::to_string(&value).map_err(Error::data)?;
        text.push('\n');
    }
    files::write_atomic(path, text.as_bytes())
}

/// The lines that are as `write_lines` leaves them; none where there is no such file.
pub fn read_lines<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
