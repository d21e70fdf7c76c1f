//! `train pretrain`.

use super::print_run;
use crate::config::PretrainConfig;
use crate::error::Result;
use crate::runs::Context;
use crate::runs::pretrain::pretrain;

/// Pre-trains and prints the report.
pub fn run(config: &PretrainConfig, context: &Context, json: bool) -> Result<()> {
    pretrain(config, context)?;
    print_run(config.output_dir.as_ref(), json, &context.progress)
}
