//! `train compare`.

use super::print_run;
use crate::config::CompareConfig;
use crate::error::Result;
use crate::progress::Progress;
use crate::runs::Options;
use crate::runs::comparison::compare;

/// Compares and prints the report.
pub fn run(config: &CompareConfig, options: &Options, json: bool, progress: &Progress) -> Result<()> {
    compare(config, options, progress)?;
    print_run(config.output_dir.as_ref(), json, progress)
}
