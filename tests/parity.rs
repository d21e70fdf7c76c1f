//! Models of this program in transformers, and models of transformers in this program.
//!
//! Both directions need Python with torch and transformers, adapters PEFT too, in `TRAIN_PYTHON` or as `python3`.
//! What is read and refused without Python is tested in `foreign.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use candle_core::{Device, Tensor};
use serde_json::Value;
use train::generate::{Generator, Sampling};
use train::internals::hf_folder::{self, HfFolder};
use train::internals::tensor_file;
use train::model::{Classifier, Dropout, LanguageModel, TokenRows};

use crate::support::{Folder, GPT2, LLAMA, needs, root};

/// Largest difference of any logit. Sums in another order move f32 logits of this size by some 1e-6 to 1e-5.
const TOLERANCE: f64 = 1e-4;
const ROWS: usize = 8;
const PROMPTS: usize = 10;
const NEW_TOKENS: usize = 16;
const PROMPT_TOKENS: usize = 24;

/// A Python that can import what the script needs.
fn python(packages: &str) -> Option<PathBuf> {
    let name = std::env::var_os("TRAIN_PYTHON").unwrap_or_else(|| "python3".into());
    let found = Command::new(&name).args(["-c", &format!("import {packages}")]).output();
    let usable = found.is_ok_and(|output| output.status.success());
    let why = format!("{} has not all of {packages}; set TRAIN_PYTHON", name.display());
    needs("python", usable.then(|| name.into()), why)
}

fn script(python: &Path, arguments: &[&Path], command: &str) -> String {
    let script = root().join("scripts/parity.py");
    let output = Command::new(python)
        .arg(script)
        .arg(command)
        .args(arguments)
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "parity.py {command}: {}", String::from_utf8_lossy(&output.stderr));
    text
}

/// A hundred texts of all lengths, some of them awkward.
fn texts() -> Vec<String> {
    let awkward = ["a <|endoftext|><|pad|> b", "naïve £5 😀 ünï", "  two  spaces ", "x"];
    let messages =
        include_str!("../data/messages/test.tsv").lines().filter_map(|line| line.split('\t').nth(1));
    let texts: Vec<String> = messages.chain(awkward).map(str::to_string).collect();
    texts[texts.len() - 100..].to_vec()
}

/// Ids of each text, cut to what the model takes.
fn encoded(folder: &HfFolder, texts: &[String]) -> Vec<Vec<u32>> {
    let mut all = folder.tokenizer.encode_batch(texts).unwrap();
    let end = folder.tokenizer.end_of_text();
    for ids in &mut all {
        let ends = ids.last() == Some(&end);
        ids.truncate(folder.max_tokens);
        if ends {
            *ids.last_mut().unwrap() = end;
        }
    }
    all
}

/// What the model computes for all texts, batch I without padding: input_ids.I (N), lengths.I (B), and logits.I
/// of each token (N, V) or of each text (B, num_labels).
fn computed(folder: &HfFolder, texts: &[String]) -> BTreeMap<String, Tensor> {
    let mut found = BTreeMap::new();
    for (batch, rows) in encoded(folder, texts).chunks(ROWS).enumerate() {
        let ids: Vec<u32> = rows.iter().flatten().copied().collect();
        let lengths: Vec<usize> = rows.iter().map(Vec::len).collect();
        let input = Tensor::from_vec(ids.clone(), ids.len(), &Device::Cpu).unwrap();
        let input = TokenRows::new(&input, &lengths, 0).unwrap();
        let logits = if folder.label_names.is_empty() {
            let model = LanguageModel::new(&folder.config, &folder.weights).unwrap();
            model.logits(&input, &mut Dropout::off()).unwrap()
        } else {
            let model = Classifier::new(&folder.config, &folder.weights, folder.pooling).unwrap();
            model.logits(&input, &mut Dropout::off()).unwrap()
        };
        let floats = |values: Vec<f32>| Tensor::new(values, &Device::Cpu).unwrap();
        found.insert(format!("input_ids.{batch}"), floats(ids.iter().map(|id| *id as f32).collect()));
        found.insert(format!("lengths.{batch}"), floats(lengths.iter().map(|n| *n as f32).collect()));
        found.insert(format!("logits.{batch}"), logits.value().clone());
    }
    found
}

/// The likeliest continuations of the first texts.
fn generated(folder: &HfFolder, texts: &[String]) -> Vec<Vec<u32>> {
    let model = LanguageModel::new(&folder.config, &folder.weights).unwrap();
    let generator = Generator { model: &model, tokenizer: &folder.tokenizer };
    let continued = |ids: &Vec<u32>| {
        let prompt = &ids[..ids.len().min(PROMPT_TOKENS)];
        generator.ids(prompt, &Sampling::greedy(NEW_TOKENS), 0).unwrap()
    };
    encoded(folder, &texts[..PROMPTS]).iter().map(continued).collect()
}

/// A pre-trained and a fine-tuned run of this model, both exported.
fn exported(model: &str) -> Folder {
    let folder = Folder::of_model(model);
    folder.run("pretrain --config pretrain.toml").done();
    folder.run("finetune --config finetune.toml").done();
    folder.run("export pretrained --to exported-pretrained").done();
    folder.run("export finetuned --to exported-finetuned").done();
    folder
}

#[test]
fn transformers_computes_what_an_exported_model_does() {
    let Some(python) = python("torch, transformers") else { return };
    let texts = texts();
    for (family, model) in [("llama", LLAMA), ("gpt2", GPT2)] {
        let folder = exported(model);
        for run in ["pretrained", "finetuned"] {
            let ours = folder.path(&format!("ours-{run}"));
            std::fs::create_dir(&ours).unwrap();
            let loaded = hf_folder::load(&hf_folder::locate(&folder.path(run)).unwrap()).unwrap();
            std::fs::write(ours.join("texts.json"), serde_json::to_vec(&texts).unwrap()).unwrap();
            tensor_file::write(&ours.join("tensors.safetensors"), &computed(&loaded, &texts)).unwrap();
            if loaded.label_names.is_empty() {
                let generated = serde_json::to_vec(&generated(&loaded, &texts)).unwrap();
                std::fs::write(ours.join("generated.json"), generated).unwrap();
            }
            let printed = script(&python, &[&folder.path(&format!("exported-{run}")), &ours], "compare");
            let found: Value = serde_json::from_str(&printed).unwrap();
            eprintln!("{family} {run} -> transformers: {found}");
            assert!(found["max_difference"].as_f64().unwrap() <= TOLERANCE, "{family} {run}: {found}");
            assert!(found["largest_logit"].as_f64().unwrap() > 1.0, "logits too small to tell: {found}");
            assert_eq!(found["same_ids"], true, "{family} {run}: {found}");
            assert_eq!(found["tensors_missing_or_unexpected"].as_array().unwrap().len(), 0, "{found}");
            match run {
                "pretrained" => assert_eq!(found["same_generated"], true, "{family}: {found}"),
                _ => assert_eq!(found["labels"]["1"], "spam", "{family}: {found}"),
            }
        }
    }
}

#[test]
fn a_model_of_transformers_computes_the_same_here() {
    let Some(python) = python("torch, transformers") else { return };
    let folder = tempfile::tempdir().unwrap();
    let texts = texts();
    let list = folder.path().join("texts.json");
    std::fs::write(&list, serde_json::to_vec(&texts).unwrap()).unwrap();
    let models = folder.path().join("models");
    script(&python, &[&models, &list], "make");
    let mut seen = 0;
    for entry in std::fs::read_dir(&models).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        let loaded = hf_folder::load(&path).unwrap();
        let reference = tensor_file::read(&path.join("reference/tensors.safetensors")).unwrap();
        let ours = computed(&loaded, &texts);
        let mut largest = 0f64;
        for (tensor, theirs) in &reference {
            let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let (ours, theirs) = (values(&ours[tensor]), values(theirs));
            assert_eq!(ours.len(), theirs.len(), "{name} {tensor}");
            if tensor.starts_with("logits") {
                let differences = ours.iter().zip(&theirs).map(|(a, b)| f64::from((a - b).abs()));
                largest = differences.fold(largest, f64::max);
            } else {
                assert!(ours == theirs, "{name}: {tensor} differs");
            }
        }
        eprintln!("transformers {name} -> here: {} texts, max_difference {largest:.2e}", texts.len());
        assert!(largest <= TOLERANCE, "{name}: {largest}");
        if loaded.label_names.is_empty() {
            let theirs: Vec<Vec<u32>> =
                serde_json::from_slice(&std::fs::read(path.join("reference/generated.json")).unwrap())
                    .unwrap();
            assert_eq!(generated(&loaded, &texts), theirs, "{name}");
        }
        seen += 1;
    }
    assert_eq!(seen, 6);
}

#[test]
fn peft_computes_what_an_adapter_over_its_base_does() {
    let Some(python) = python("torch, transformers, peft") else { return };
    let texts = texts();
    let every = |names: &[&str]| format!("{names:?}").replace(' ', "");
    for (family, model, targets) in [
        (
            "llama",
            LLAMA,
            every(&["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
        ),
        ("llama", LLAMA, every(&["q_proj", "v_proj"])),
        ("gpt2", GPT2, every(&["c_attn", "c_proj", "c_fc"])),
    ] {
        let folder = Folder::of_model(model);
        folder.run("pretrain --config pretrain.toml").done();
        let settings = "--set lora.r=4 --set lora.lora_alpha=32 --set lora.lora_dropout=0.1 --set optim.learning_rate=0.05";
        folder
            .run(&format!("finetune --config finetune.toml {settings} --set lora.target_modules={targets}"))
            .done();
        let ours = folder.path("ours");
        std::fs::create_dir(&ours).unwrap();
        let loaded = hf_folder::load(&folder.path("finetuned/model")).unwrap();
        std::fs::write(ours.join("texts.json"), serde_json::to_vec(&texts).unwrap()).unwrap();
        tensor_file::write(&ours.join("tensors.safetensors"), &computed(&loaded, &texts)).unwrap();
        let paths = [folder.path("pretrained/model"), folder.path("finetuned/adapter"), ours];
        let printed = script(&python, &paths.each_ref().map(PathBuf::as_path), "adapter");
        let found: Value = serde_json::from_str(&printed).unwrap();
        eprintln!("{family} {targets} -> PEFT: {found}");
        assert!(found["max_difference"].as_f64().unwrap() <= TOLERANCE, "{family}: {found}");
        assert!(found["largest_logit"].as_f64().unwrap() > 1.0, "logits too small to tell: {found}");
        assert!(
            found["without_adapter"].as_f64().unwrap() > 100.0 * TOLERANCE,
            "it changes nothing: {found}"
        );
        assert_eq!(found["same_ids"], true, "{family}: {found}");
        assert_eq!(found["tensors_missing_or_unexpected"].as_array().unwrap().len(), 0, "{found}");
        let trained = &folder.json("finetuned/results.json")["trainable_parameters"];
        assert_eq!(&found["trainable_parameters"], trained, "{family}: {found}");
    }
}

#[test]
fn llama_cpp_reads_an_exported_gguf_file() {
    let Some(python) = python("torch, transformers") else { return };
    for (family, model) in [("llama", LLAMA), ("gpt2", GPT2)] {
        // Rows of 64 values fill whole blocks.
        let folder = exported(
            &model.replace("48", "64").replace("num_attention_heads = 6", "num_attention_heads = 4"),
        );
        for (precision, bound) in [("f32", 0.0), ("q8_0", 1.0 / 127.0)] {
            folder.run(&format!("export pretrained --to {precision}.gguf --quantize {precision}")).done();
            let paths = [&folder.path(&format!("{precision}.gguf")), &folder.path("exported-pretrained")];
            let found: Value =
                serde_json::from_str(&script(&python, &paths.map(PathBuf::as_path), "gguf")).unwrap();
            let found = (!found.is_null()).then_some(found);
            let why = format!("{} has no gguf", python.display());
            let Some(found) = needs("python", found, why) else { return };
            eprintln!("{family} {precision} -> gguf: {found}");
            assert_eq!(found["architecture"], family);
            assert!(found["relative_difference"].as_f64().unwrap() <= bound, "{found}");
            assert_eq!(found["types"].as_array().unwrap().len(), if precision == "f32" { 1 } else { 2 });
            assert_eq!(found["unexpected"].as_array().unwrap().len(), 0, "{found}");
            assert_eq!(found["tokens"], 300);
        }
    }
}
