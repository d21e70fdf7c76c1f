//! `train pretrain`.

use super::print_run;
use crate::config::PretrainConfig;
use crate::error::Result;
use crate::report;
use crate::runs::Context;
use crate::runs::pretrain::pretrain;

/// Pre-trains and prints the report.
pub fn run(config: &PretrainConfig, context: &Context, json: bool) -> Result<()> {
    let run = pretrain(config, context)?;
    print_run(&run.dir, &run.results, &report::pretrained(&run), json, &context.progress)
}
