//! `train completions SHELL`, `train manual DIR`: the command line, for a shell and for `man`.

use std::fs;
use std::path::Path;

use clap_complete::{Shell, generate};

use super::print::print;
use crate::cli;
use crate::error::{Error, Result};

/// Prints what a shell completes commands and flags by.
pub fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    generate(shell, &mut cli::command(), "train", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Writes a manual page per command: `train.1`, `train-pretrain.1`, `train-data-audit.1`.
pub fn manual(folder: &Path) -> Result<()> {
    let written = fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(cli::command(), folder));
    written.map_err(|cause| Error::writing(folder, &cause))
}
