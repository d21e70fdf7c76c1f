//! `train config check|schema`: a config as a run would read it, with every key; what keys there are.

use std::path::Path;

use super::print;
use crate::config::{self, Config, Source};
use crate::error::{Error, Result};

/// Prints the JSON Schema of a config.
pub fn schema<C: Config>() -> Result<()> {
    print(&format!("{:#}\n", config::schema::<C>()))
}

/// Checks a config and prints the resolved form.
pub fn check<C: Config>(path: &Path, sets: &[String]) -> Result<()> {
    let config = config::load::<C>(Source::File(path), sets, &[])?;
    let text = config::to_toml(&config);
    print(&text.map_err(|cause| Error::usage(format!("{}: {cause}", path.display())))?)
}
