//! Fine-tuning by low-rank updates: what is trained, what is kept, what it leaves for PEFT and for other commands.

use std::collections::BTreeMap;

use candle_core::Tensor;
use train::internals::tensor_file;

use crate::support::{Folder, GPT2};

const LORA: &str = "finetune --config finetune.toml --set lora.r=2 --set lora.lora_alpha=8 \
                    --set lora.target_modules=[\"q_proj\",\"down_proj\"]";

fn tensors(folder: &Folder, file: &str) -> BTreeMap<String, Tensor> {
    tensor_file::read(&folder.path(file)).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn only_the_updates_and_the_head_are_trained_and_kept() {
    let folder = Folder::pretrained();
    let outcome = folder.run(LORA).done();
    // One layer, width 16, MLP 32: q (16 + 16) * 2, down (32 + 16) * 2, head 2 * 16.
    let trained = 64 + 96 + 32;
    let results = folder.json("finetuned/results.json");
    assert_eq!(results["trainable_parameters"], trained);
    let base = folder.json("pretrained/results.json")["parameters"].as_u64().unwrap();
    assert_eq!(results["parameters"], base + trained);
    let manifest = folder.json("finetuned/run.json");
    assert_eq!(manifest["parameters"], results["parameters"]);
    assert_eq!(manifest["trainable_parameters"], trained);
    let said = format!("model: {} parameters, {trained} of them trained (", base + trained);
    assert!(outcome.stderr.contains(&said), "{}", outcome.stderr);

    let checkpoint = "finetuned/checkpoints/step_000004";
    let names = "model.layers.0.mlp.down_proj.lora_A.weight model.layers.0.mlp.down_proj.lora_B.weight \
                 model.layers.0.self_attn.q_proj.lora_A.weight model.layers.0.self_attn.q_proj.lora_B.weight \
                 score.weight";
    for file in ["model", "optimizer", "best"] {
        let found = tensors(&folder, &format!("{checkpoint}/{file}.safetensors"));
        assert_eq!(found.keys().cloned().collect::<Vec<_>>().join(" "), names, "{file}");
    }

    let (before, after) = (
        tensors(&folder, "pretrained/model/model.safetensors"),
        tensors(&folder, "finetuned/model/model.safetensors"),
    );
    let updated = ["model.layers.0.mlp.down_proj.weight", "model.layers.0.self_attn.q_proj.weight"];
    for (name, tensor) in &before {
        let same = values(tensor) == values(&after[name]);
        assert_eq!(same, !updated.contains(&name.as_str()), "{name}");
    }
    let extra: Vec<&String> = after.keys().filter(|name| !before.contains_key(*name)).collect();
    assert_eq!(extra, ["score.weight"]);
}

#[test]
fn the_adapter_holds_what_peft_looks_for() {
    let folder = Folder::pretrained();
    folder.run(LORA).done();
    let config = folder.json("finetuned/adapter/adapter_config.json");
    for (key, value) in [
        ("peft_type", "\"LORA\""),
        ("task_type", "\"SEQ_CLS\""),
        ("base_model_name_or_path", "\"pretrained/model\""),
        ("r", "2"),
        ("lora_alpha", "8"),
        ("lora_dropout", "0.0"),
        ("target_modules", "[\"q_proj\",\"down_proj\"]"),
        ("modules_to_save", "[\"score\"]"),
        ("fan_in_fan_out", "false"),
        ("bias", "\"none\""),
    ] {
        assert_eq!(config[key].to_string(), value, "{key}");
    }
    let adapter = tensors(&folder, "finetuned/adapter/adapter_model.safetensors");
    let shapes: Vec<_> = adapter.iter().map(|(name, tensor)| (name.as_str(), tensor.dims())).collect();
    let layer = "base_model.model.model.layers.0";
    let expected = [
        (format!("{layer}.mlp.down_proj.lora_A.weight"), [2, 32]),
        (format!("{layer}.mlp.down_proj.lora_B.weight"), [16, 2]),
        (format!("{layer}.self_attn.q_proj.lora_A.weight"), [2, 16]),
        (format!("{layer}.self_attn.q_proj.lora_B.weight"), [16, 2]),
        ("base_model.model.score.weight".into(), [2, 16]),
    ];
    assert_eq!(shapes, expected.iter().map(|(name, shape)| (name.as_str(), &shape[..])).collect::<Vec<_>>());
    // W + alpha / r * B A is what the merged folder holds.
    let (base, merged) = (
        tensors(&folder, "pretrained/model/model.safetensors"),
        tensors(&folder, "finetuned/model/model.safetensors"),
    );
    let (a, b) = (&adapter[&expected[2].0], &adapter[&expected[3].0]);
    let name = "model.layers.0.self_attn.q_proj.weight";
    let by_hand = (&base[name] + (b.matmul(a).unwrap() * 4.0).unwrap()).unwrap();
    for (found, expected) in values(&merged[name]).iter().zip(values(&by_hand)) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
    assert_eq!(
        folder.bytes("finetuned/adapter/tokenizer.json"),
        folder.bytes("finetuned/model/tokenizer.json")
    );
}

#[test]
fn the_commands_after_it_work_with_the_merged_weights() {
    let folder = Folder::pretrained();
    folder.run(LORA).done();
    let results = folder.json("finetuned/results.json");
    folder.run("predict finetuned hello").done();
    folder.run("export finetuned --to exported").done();
    assert_eq!(folder.bytes("exported/model.safetensors"), folder.bytes("finetuned/model/model.safetensors"));
    // The scores are those of the merged weights, so another look at the same rows sees the same answers.
    let rows = folder.text("messages.tsv");
    let answers: Vec<serde_json::Value> = folder.json_lines("finetuned/predictions.jsonl");
    let texts: Vec<&str> = rows.lines().filter_map(|row| row.split('\t').nth(1)).collect();
    let hash = |text: &str| train::internals::sha256(text.as_bytes());
    for answer in &answers {
        let text = texts.iter().find(|text| hash(text) == answer["text_sha256"].as_str().unwrap()).unwrap();
        let mut command = folder.train(&["predict", "finetuned", text]);
        let said = crate::support::Outcome::of("predict", command.output().unwrap()).done().object();
        let difference =
            said["probabilities"]["spam"].as_f64().unwrap() - answer["probability"]["spam"].as_f64().unwrap();
        assert!(difference.abs() < 1e-6, "{said} {answer}");
    }
    assert_eq!(answers.len() as u64, results["parts"][2]["rows"].as_u64().unwrap());
}

#[test]
fn five_and_five_steps_are_ten() {
    let folder = Folder::pretrained();
    let line = format!(
        "{LORA} --set lora.lora_dropout=0.2 --set train.dropout=0.1 --set train.grad_accum_steps=2 \
         --set optim.schedule=\"constant\" --set train.eval_interval=5 --set train.save_interval=5"
    );
    folder.run(&format!("{line} --set train.max_steps=5")).done();
    folder.run(&format!("{line} --set train.max_steps=10 --resume")).done();
    folder.run(&format!("{line} --set train.max_steps=10 --set output_dir=whole")).done();
    let other = "--set train.recompute=true --set train.max_steps=10 --set output_dir=recomputed";
    folder.run(&format!("{line} {other}")).done();
    for file in [
        "checkpoints/step_000010/model.safetensors",
        "checkpoints/step_000010/optimizer.safetensors",
        "checkpoints/step_000010/best.safetensors",
        "adapter/adapter_model.safetensors",
        "model/model.safetensors",
        "predictions.jsonl",
    ] {
        let whole = folder.bytes(&format!("whole/{file}"));
        assert!(folder.bytes(&format!("finetuned/{file}")) == whole, "{file} differs after a resumption");
        assert!(folder.bytes(&format!("recomputed/{file}")) == whole, "{file} differs with recomputation");
    }
}

#[test]
fn it_does_not_go_on_over_other_frozen_weights() {
    let folder = Folder::pretrained();
    folder.run(LORA).done();
    folder.run("pretrain --config pretrain.toml --overwrite --set train.max_steps=5").done();
    let parts = [
        "step_000004: the weights that are not trained are ",
        "the checkpoint's were ",
        "put init_from back",
    ];
    folder.run(&format!("{LORA} --set train.max_steps=6 --resume")).fails(65, &parts);
    folder
        .run(&format!("{LORA} --set train.max_steps=6 --set lora.r=3 --resume"))
        .fails(2, &["lora.r: 2 -> 3"]);
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    let folder = Folder::pretrained();
    let refused = |set: &str, parts: &[&str]| {
        folder.run(&format!("finetune --config finetune.toml --set {set}")).fails(2, parts);
        assert!(!folder.path("finetuned/run.json").exists());
    };
    refused("lora.r=0", &["lora.r is 0; it must lie in 1..=65536"]);
    refused("lora.lora_alpha=0", &["lora.lora_alpha is 0"]);
    refused("lora.lora_dropout=1.0", &["lora.lora_dropout is 1; it must be 0 or more and below 1"]);
    refused("lora.rank=4", &["unknown key 'lora.rank'"]);
    refused("lora.alpha=4", &["unknown key 'lora.alpha', did you mean 'lora.lora_alpha'?"]);
    let names = "down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj";
    let said = format!("lora.target_modules names 'c_attn'; this model has {names}");
    refused("lora.target_modules=[\"q_proj\",\"c_attn\"]", &[&said]);
    refused(
        "lora.r=2 --set classifier.freeze=all_but_head",
        &["classifier.freeze and [lora]", "exclude each other"],
    );
}

#[test]
fn from_scratch_it_says_what_stays_random() {
    let folder = Folder::new();
    let line =
        "finetune --config finetune.toml --init-from scratch --set lora.r=2 --set tokenizer.vocab_size=300";
    let outcome = folder.run(line).done();
    assert!(
        outcome.stderr.contains("warning: [lora] from scratch: the random weights stay"),
        "{}",
        outcome.stderr
    );
    assert!(!folder.path("finetuned/adapter").exists(), "an adapter without a base");
    assert!(folder.path("finetuned/model/model.safetensors").exists());
}

#[test]
fn a_head_that_peft_does_not_have_leaves_no_adapter() {
    let folder = Folder::pretrained();
    folder.run(&format!("{LORA} --set classifier.pooling=mean")).done();
    assert!(!folder.path("finetuned/adapter").exists());
    folder.run("predict finetuned hello").done();
}

#[test]
fn a_comparison_gives_both_arms_the_same_updates_and_says_so() {
    let folder = Folder::new();
    let line = "compare --config compare.toml --json --set budgets=[0] --set seeds=[1] --set finetune.lora.r=2 \
                --set finetune.classifier.head_only_fraction=0.5";
    let results = folder.run(line).done().object();
    let counts = ["pretrained", "scratch"].map(|arm| {
        let found = folder.json(&format!("compared/{arm}-all-seed1/results.json"));
        (found["trainable_parameters"].as_u64().unwrap(), found["parameters"].as_u64().unwrap())
    });
    assert_eq!(counts[0], counts[1]);
    assert!(counts[0].0 < counts[0].1);
    let findings = results["verdict"]["findings"].to_string();
    assert!(findings.contains("the arm from scratch keeps its random weights"), "{findings}");
    assert!(findings.contains("All runs train the head alone first"), "{findings}");
    let lora = |arm: &str| {
        let text = folder.text(&format!("compared/{arm}-all-seed1/config.toml"));
        toml::from_str::<toml::Table>(&text).unwrap()["lora"].clone()
    };
    assert_eq!(lora("pretrained"), lora("scratch"));
}

#[test]
fn gpt2_takes_updates_of_its_own_maps() {
    let folder = Folder::of_model(GPT2);
    folder.run("pretrain --config pretrain.toml").done();
    folder.run("finetune --config finetune.toml --set lora.r=2 --set lora.target_modules=[\"c_attn\",\"c_proj\"]").done();
    let adapter = tensors(&folder, "finetuned/adapter/adapter_model.safetensors");
    let names: Vec<&str> = adapter.keys().map(String::as_str).collect();
    let of_layer = |layer: usize| {
        ["attn.c_attn", "attn.c_proj", "mlp.c_proj"].map(|module| {
            ["A", "B"]
                .map(|part| format!("base_model.model.transformer.h.{layer}.{module}.lora_{part}.weight"))
        })
    };
    let mut expected: Vec<String> = (0..3).flat_map(of_layer).flatten().collect();
    expected.insert(0, "base_model.model.score.weight".into());
    assert_eq!(names, expected);
    assert_eq!(folder.json("finetuned/adapter/adapter_config.json")["fan_in_fan_out"], true);
}
