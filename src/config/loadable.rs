//! What the three configs have in common.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Result;
use crate::ranges;

/// A config that can be loaded.
pub trait Config: DeserializeOwned + Serialize + Default + JsonSchema {
    /// The command that takes it.
    const COMMAND: &'static str;

    /// Errors: values of one section or of several that do not fit each other, by key (2).
    fn check_sections(&self) -> Result<()>;

    /// Errors: a value outside its range, or values that do not fit each other, by key (2).
    fn check(&self) -> Result<()> {
        ranges::check("", self)?;
        self.check_sections()
    }
}
