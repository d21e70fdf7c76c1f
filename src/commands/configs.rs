//! `train config check|schema`: a config as a run would read it, with every key; what keys there are.

use std::path::Path;

use super::print;
use crate::config::{self, CompareConfig, FinetuneConfig, PretrainConfig};
use crate::error::{Error, Result};

/// Which command a config is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Phase {
    /// `train pretrain`.
    Pretrain,
    /// `train finetune`.
    Finetune,
    /// `train compare`.
    Compare,
}

/// Prints the JSON Schema of a phase's config.
pub fn schema(phase: Phase) -> Result<()> {
    let schema = match phase {
        Phase::Pretrain => config::schema::<PretrainConfig>(),
        Phase::Finetune => config::schema::<FinetuneConfig>(),
        Phase::Compare => config::schema::<CompareConfig>(),
    };
    print(&format!("{schema:#}\n"))
}

/// Checks the config of `phase` and prints the resolved form.
pub fn check(phase: Phase, path: &Path, sets: &[String]) -> Result<()> {
    let text = match phase {
        Phase::Pretrain => config::to_toml(&config::load::<PretrainConfig>(path, sets)?),
        Phase::Finetune => config::to_toml(&config::load::<FinetuneConfig>(path, sets)?),
        Phase::Compare => config::to_toml(&config::load::<CompareConfig>(path, sets)?),
    };
    print(&text.map_err(|cause| Error::usage(format!("{}: {cause}", path.display())))?)
}
