//! `train finetune`.

use super::{check_gates, gate, print_run};
use crate::config::FinetuneConfig;
use crate::error::Result;
use crate::report;
use crate::runs::Context;
use crate::runs::finetune::finetune;

/// Fine-tunes, prints the report and checks the gates.
pub fn run(config: &FinetuneConfig, gates: &[String], context: &Context, json: bool) -> Result<()> {
    gates.iter().try_for_each(|text| gate(text).map(drop))?;
    let run = finetune(config, context)?;
    print_run(&run.dir, &run.results, &report::finetuned(&run), json, &context.progress)?;
    let test = serde_json::json!(run.results.scores.test);
    check_gates(gates, |name| test[name].as_f64())
}
