//! `train config check`: reads a config as a run would, prints it with every key, does nothing else.

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

/// Checks the config of `phase` and prints the resolved form.
pub fn check(phase: Phase, path: &Path, sets: &[String]) -> Result<()> {
    let text = match phase {
        Phase::Pretrain => config::to_toml(&config::load::<PretrainConfig>(path, sets)?),
        Phase::Finetune => config::to_toml(&config::load::<FinetuneConfig>(path, sets)?),
        Phase::Compare => config::to_toml(&config::load::<CompareConfig>(path, sets)?),
    };
    print(&text.map_err(|cause| Error::usage(format!("{}: {cause}", path.display())))?)
}
