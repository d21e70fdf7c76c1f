//! The commands that write, small enough to be run some hundred times; none where faults cannot be made.

use super::interposed::library;
use super::story::Story;
use crate::support::Folder;

const PRETRAIN: &str = "pretrain --config pretrain.toml --set tokenizer.vocab_size=260 --set bleu_prompts=0";
const FINETUNE: &str = "finetune --config finetune.toml";
const COMPARE: &str = "compare --config compare.toml --set budgets=[20]";
const RUN: [&str; 2] = ["--resume", "--overwrite"];

/// Tokenising, checkpoints, samples, results.
pub fn pretraining() -> Option<Story> {
    library()?;
    Some(Story::new("pretrain", Folder::new(), PRETRAIN, RUN, &["pretrained", "cache"]))
}

/// A finished run of other settings gives way.
pub fn replacing() -> Option<Story> {
    library()?;
    let before = Folder::pretrained();
    before.run(&format!("{FINETUNE} --set seed=7 --set train.dropout=0.1")).done();
    Some(Story::new("finetune --overwrite", before, &format!("{FINETUNE} --overwrite"), RUN, &["finetuned"]))
}

/// A larger budget: the run goes on from its last checkpoint.
pub fn going_on() -> Option<Story> {
    library()?;
    let before = Folder::pretrained();
    before.run(&format!("{FINETUNE} --set train.max_steps=2")).done();
    Some(Story::new("finetune --resume", before, &format!("{FINETUNE} --resume"), RUN, &["finetuned"]))
}

/// Two seeds with and without pre-training.
pub fn comparing() -> Option<Story> {
    library()?;
    Some(Story::new("compare", Folder::new(), COMPARE, RUN, &["compared", "cache"]))
}

/// A finished comparison of another pre-training gives way.
pub fn comparing_anew() -> Option<Story> {
    library()?;
    let before = Folder::new();
    before.run(&format!("{COMPARE} --set pretrain.seed=7 --set pretrain.train.dropout=0.1")).done();
    Some(Story::new("compare --overwrite", before, &format!("{COMPARE} --overwrite"), RUN, &["compared"]))
}

/// A folder for transformers takes the place of an older one.
pub fn exporting() -> Option<Story> {
    exported("export", "exported")
}

/// The same with one file.
pub fn exporting_gguf() -> Option<Story> {
    exported("export to GGUF", "model.gguf")
}

fn exported(name: &'static str, to: &'static str) -> Option<Story> {
    library()?;
    let before = Folder::pretrained();
    before.run(&format!("{PRETRAIN} --set output_dir=other --set seed=7")).done();
    before.run(&format!("export other --to {to}")).done();
    let results: &[&str] = if name == "export" { &["exported"] } else { &["model.gguf", "model.gguf.tmp"] };
    let command = format!("export pretrained --to {to} --overwrite");
    Some(Story::new(name, before, &command, ["--overwrite"; 2], results))
}

/// A tokenizer of its own.
pub fn training_a_tokenizer() -> Option<Story> {
    library()?;
    let command = "tokenizer train corpus.txt --vocab-size 260 --output own.json --overwrite";
    Some(Story::new("tokenizer train", Folder::new(), command, ["--overwrite"; 2], &["own.json"]))
}
