//! `train config check|schema`: a config as a run would read it, with every key; what keys there are.

use std::path::Path;

use super::print::{print, print_json};
use crate::cli::{ConfigCommand, Phase};
use crate::config::{self, CompareConfig, Config, FinetuneConfig, PretrainConfig, Source};
use crate::error::{Error, Result};

/// Does what the phase asks for.
pub fn run(command: &ConfigCommand, json: bool) -> Result<()> {
    match command {
        ConfigCommand::Schema { phase: Phase::Pretrain } => schema::<PretrainConfig>(),
        ConfigCommand::Schema { phase: Phase::Finetune } => schema::<FinetuneConfig>(),
        ConfigCommand::Schema { phase: Phase::Compare } => schema::<CompareConfig>(),
        ConfigCommand::Check { phase, config, sets } => match phase {
            Phase::Pretrain => check::<PretrainConfig>(config, sets, json),
            Phase::Finetune => check::<FinetuneConfig>(config, sets, json),
            Phase::Compare => check::<CompareConfig>(config, sets, json),
        },
    }
}

/// Prints the JSON Schema.
fn schema<C: Config>() -> Result<()> {
    print(&format!("{:#}\n", config::schema::<C>()))
}

/// Checks a config and prints the resolved form.
fn check<C: Config>(path: &Path, sets: &[String], json: bool) -> Result<()> {
    let config = config::load::<C>(Source::File(path), sets, &[])?;
    if json {
        return print_json(&config);
    }
    let text = config::to_toml(&config);
    print(&text.map_err(|cause| Error::usage(format!("{}: {cause}", path.display())))?)
}
