//! `train compare`.

use super::print_run;
use crate::config::CompareConfig;
use crate::error::Result;
use crate::runs::Context;
use crate::runs::comparison::compare;

/// Compares and prints the report.
pub fn run(config: &CompareConfig, context: &Context, json: bool) -> Result<()> {
    compare(config, context)?;
    print_run(config.output_dir.as_ref(), json, &context.progress)
}
