//! `train finetune`.

use super::{check_gates, gate, print_run};
use crate::config::FinetuneConfig;
use crate::error::Result;
use crate::run_dir::read_json;
use crate::runs::Context;
use crate::runs::finetune::finetune;

/// Fine-tunes, prints the report and checks the gates.
pub fn run(config: &FinetuneConfig, gates: &[String], context: &Context, json: bool) -> Result<()> {
    gates.iter().try_for_each(|text| gate(text).map(drop))?;
    finetune(config, context)?;
    print_run(config.output_dir.as_ref(), json, &context.progress)?;
    let results: serde_json::Value = read_json(config.output_dir.as_ref(), "results.json")?;
    check_gates(gates, |name| results["test"][name].as_f64())
}
