//! `train pretrain`.

use super::print_run;
use crate::config::PretrainConfig;
use crate::error::Result;
use crate::progress::Progress;
use crate::runs::Options;
use crate::runs::pretrain::pretrain;

/// Pre-trains and prints the report.
pub fn run(config: &PretrainConfig, options: &Options, json: bool, progress: &Progress) -> Result<()> {
    pretrain(config, options, progress)?;
    print_run(config.output_dir.as_ref(), json, progress)
}
