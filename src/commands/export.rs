//! `train export`: a finished run as a folder that transformers loads, or as one GGUF file.

use std::path::Path;

use super::print::print_json;
use crate::cli::{ExportArgs, Quantize};
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::hf_folder::{self, Quantization, write_gguf};
use crate::model::Pooling;
use crate::progress::Progress;
use crate::runs::fetch;

/// Writes the model of a run or Hugging Face folder: to a file where its name ends in .gguf, else to a folder.
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
    if to.exists() && !args.overwrite {
        let why = format!("{} exists; use --overwrite or another --to", to.display());
        return Err(Error::new(ErrorKind::Output, why));
    }
    let gguf = to.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
    if !gguf && quantization != Quantization::F32 {
        let why = "only a GGUF file can be quantized";
        return Err(Error::usage(format!("--to {}: {why}; give it a name that ends in .gguf", to.display())));
    }
    let folder = hf_folder::load(&from)?;
    if gguf {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        write_gguf(to, &name, &folder, quantization)?;
        return written(to, json, progress);
    }
    if folder.pooling != Pooling::Last {
        let why = "its classifier reads all tokens, those of transformers the last one alone";
        let hint = "fine-tune with classifier.pooling = \"last\"";
        return Err(Error::data(format!("{} cannot be exported: {why}; {hint}", path.display())));
    }
    let card = from.join("README.md");
    let card = card.exists().then(|| files::read(&card)).transpose()?;
    hf_folder::save(to, &folder.files())?;
    if let Some(card) = card {
        files::write_atomic(&to.join("README.md"), &card)?;
    }
    written(to, json, progress)
}

fn written(to: &Path, json: bool, progress: &Progress) -> Result<()> {
    progress.note(format!("written to {}", to.display()));
    if json { print_json(&serde_json::json!({"path": to})) } else { Ok(()) }
}
