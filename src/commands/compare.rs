//! `train compare`.

use super::print_run;
use crate::config::CompareConfig;
use crate::error::Result;
use crate::report;
use crate::runs::Context;
use crate::runs::comparison::compare;

/// Compares and prints the report.
pub fn run(config: &CompareConfig, context: &Context, json: bool) -> Result<()> {
    let run = compare(config, context)?;
    print_run(&run.dir, &run.results, &report::compared(&run), json, &context.progress)
}
