//! `train generate`: continues a prompt, shown as it grows.

use serde_json::json;

use super::print::{print, print_json};
use crate::cli::GenerateArgs;
use crate::error::Result;
use crate::generate::Sampling;
use crate::progress::Progress;
use crate::runs::{Context, LanguageModel};

/// Continues the prompt; with `json`, one object at the end.
///
/// Errors: no model there (66), a classifier (65).
pub fn run(args: &GenerateArgs, json: bool, progress: &Progress) -> Result<()> {
    let GenerateArgs { prompt, seed, temperature, top_k, top_p, max_new_tokens, .. } = args;
    let (temperature, top_k, top_p) = (*temperature, *top_k, *top_p);
    let sampling = Sampling { temperature, top_k, top_p, max_new_tokens: *max_new_tokens };
    sampling.check()?;
    let model = LanguageModel::load_with(&args.run_dir, &Context::on(&args.device, progress))?;
    if json {
        let continuation = model.generate(prompt, &sampling, *seed)?;
        return print_json(&json!({"prompt": prompt, "continuation": continuation, "seed": seed}));
    }
    print(prompt)?;
    model.stream(prompt, &sampling, *seed, print)?;
    print("\n")
}
