//! `train export`: a finished run as a folder that transformers loads, or as one GGUF file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::json;

use super::print::print_json;
use crate::cli::{ExportArgs, Quantize};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::files::gguf::MAGIC;
use crate::hf_folder::{self, HfFolder, Quantization, write_gguf};
use crate::progress::Progress;
use crate::run_dir::{is_run, run_around};
use crate::runs::fetch;

/// Writes the model of a run, Hugging Face folder or GGUF file: to a file where its name ends in .gguf, else to a folder.
///
/// Errors: no model (66); the place exists and is not to be replaced (73); a classifier that transformers would
/// compute differently (65).
pub fn run(args: &ExportArgs, json: bool, progress: &Progress) -> Result<()> {
    let (path, to) = (&fetch::local(&args.run_dir, progress)?, &args.to);
    let quantization = match args.quantize {
        Quantize::F32 => Quantization::F32,
        Quantize::Q8_0 => Quantization::Q8_0,
    };
    let from = hf_folder::locate(path)?;
    let gguf = to.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
    if !gguf && quantization != Quantization::F32 {
        let why = "only a GGUF file can be quantized";
        return Err(Error::usage(format!("--to {}: {why}; give it a name that ends in .gguf", to.display())));
    }
    let place = files::place_of(to)?;
    if (to.exists() || place.exists()) && !args.overwrite {
        return Err(refused(to, "exists; use --overwrite or another --to"));
    }
    may_take(to, &place, path, gguf)?;
    if let Some(beside) = to.parent() {
        files::sweep_shared(beside);
    }
    files::sweep_shared(to);
    let folder = hf_folder::load(&from)?;
    if gguf {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        write_gguf(to, &name, &folder, quantization)?;
        return written(to, json, progress);
    }
    if !folder.label_names.is_empty() {
        check_head(&folder).map_err(|why| {
            Error::data(format!("{} cannot be exported: its classifier {why}", path.display()))
        })?;
    }
    let card = from.join("README.md");
    let card = files::exists(&card)?.then(|| files::read(&card)).transpose()?;
    hf_folder::save(to, &folder.files())?;
    if let Some(card) = card {
        files::write_atomic(&to.join("README.md"), &card)?;
    }
    written(to, json, progress)
}

/// Errors: a classifier that transformers does not have.
fn check_head(folder: &HfFolder) -> std::result::Result<(), String> {
    match folder.config.pooling_of_transformers() {
        Some(theirs) if theirs == folder.pooling => Ok(()),
        Some(theirs) => {
            let (own, theirs) = (json!(folder.pooling), json!(theirs));
            let hint = format!("fine-tune with classifier.pooling = {theirs}");
            Err(format!("reads by {own}, that of transformers by {theirs}; {hint}"))
        }
        None => Err("reads in both directions, which transformers has for Llama alone; fine-tune with \
                     classifier.attention = \"causal\" and classifier.pooling = \"last\""
            .into()),
    }
}

fn written(to: &Path, json: bool, progress: &Progress) -> Result<()> {
    progress.note(format!("written to {}", to.display()));
    if json { print_json(&json!({"path": to.display().to_string()})) } else { Ok(()) }
}

/// Errors: `to` is part of what is exported or of a run, or holds something that is no export (73).
fn may_take(to: &Path, place: &Path, source: &Path, gguf: bool) -> Result<()> {
    if let Some(run) = run_around(to)? {
        return Err(refused(to, &format!("belongs to the run in {}; choose another --to", run.display())));
    }
    if gguf {
        let is_gguf = || {
            let mut magic = Vec::new();
            let read = File::open(to).and_then(|file| file.take(4).read_to_end(&mut magic));
            read.is_ok() && magic == MAGIC
        };
        if source.canonicalize().is_ok_and(|source| source == place) {
            return Err(refused(to, "is what is exported; choose another --to"));
        }
        let takes = !to.exists() || is_gguf();
        return if takes { Ok(()) } else { Err(refused(to, "is no GGUF file; choose another --to")) };
    }
    if !place.exists() {
        return Ok(());
    }
    let source = source.canonicalize().map_err(|cause| Error::reading(source, &cause))?;
    let holds_source = source.starts_with(place);
    if holds_source || place.starts_with(&source) && !is_run(&source)? {
        return Err(refused(to, "holds what is exported or lies in it; choose another --to"));
    }
    let is_model = ["config.json", "model.safetensors"].iter().all(|name| to.join(name).exists());
    let is_empty = to.read_dir().is_ok_and(|mut entries| entries.next().is_none());
    match is_model || is_empty {
        true => Ok(()),
        false => Err(refused(to, "is no exported model; choose another --to")),
    }
}

fn refused(to: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Output, format!("{} {why}", to.display()))
}
