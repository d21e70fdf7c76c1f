//! What a user sees of bad input: one line that names place and cause, the right exit code, and nothing lost.

use candle_core::{Device, Tensor};
use serde_json::{Value, json};
use train::internals::tensor_file;

use crate::support::Folder;

const RESUME: &str = "pretrain --config pretrain.toml --resume --set train.max_steps=6";
const MODEL: &str = "pretrained/model/model.safetensors";

/// Header and data of a safetensors file; the file begins with the length of the header in eight bytes.
fn taken_apart(bytes: &[u8]) -> (Value, Vec<u8>) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + length]).unwrap(), bytes[8 + length..].to_vec())
}

fn put_together(header: &[u8], data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header, data].concat()
}

#[test]
fn a_place_that_cannot_be_created_is_refused() {
    let folder = Folder::new();
    folder.write("file", "");
    let parts = ["cannot create output_dir file/run: ", "; choose another output_dir"];
    folder.run("pretrain --config pretrain.toml --set output_dir=file/run").fails(73, &parts);
    assert!(!folder.path("cache").exists(), "it was refused before any work");
}

#[test]
fn a_run_is_never_written_over_unasked() {
    let folder = Folder::pretrained();
    let before = folder.bytes(MODEL);
    let parts = ["output_dir pretrained already holds a run", "--resume", "--overwrite"];
    folder.run("pretrain --config pretrain.toml").fails(73, &parts);
    assert_eq!(folder.bytes(MODEL), before);
}

#[test]
fn bad_input_found_at_the_start_leaves_the_old_run_where_it_was() {
    let folder = Folder::pretrained();
    let line = "pretrain --config pretrain.toml --overwrite --set data.train=[\"none.txt\"]";
    folder.run(line).fails(66, &["none.txt"]);
    assert!(folder.path(MODEL).exists(), "--overwrite removed a run for one that cannot begin");
}

#[test]
fn a_folder_in_use_is_refused() {
    let folder = Folder::pretrained();
    folder.write("pretrained/run.lock", "4242");
    let lock = std::fs::File::options().write(true).open(folder.path("pretrained/run.lock")).unwrap();
    lock.lock().unwrap();
    folder.run(RESUME).fails(73, &["output_dir pretrained is locked by process 4242"]);
}

#[test]
fn damaged_checkpoints_are_refused_and_the_older_one_is_named() {
    let folder = Folder::pretrained();
    folder.replace("kept", "pretrained");
    let newest = "pretrained/checkpoints/step_000004";
    let fallback =
        "remove pretrained/checkpoints/step_000004 to go on from pretrained/checkpoints/step_000002";
    let flipped = |name: &str| {
        let mut bytes = folder.bytes(&format!("{newest}/{name}"));
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        bytes
    };
    for (name, bytes, why) in [
        ("model.safetensors", flipped("model.safetensors"), "differs"),
        ("optimizer.safetensors", flipped("optimizer.safetensors"), "differs"),
        ("best.safetensors", flipped("best.safetensors"), "differs"),
        ("model.safetensors", flipped("model.safetensors")[..100].to_vec(), "(100 bytes) differs"),
        ("model.safetensors", Vec::new(), "(0 bytes) differs"),
        ("state.json", b"{\n".to_vec(), "is damaged: "),
    ] {
        folder.replace("pretrained", "kept");
        let file = format!("{newest}/{name}");
        folder.write(&file, bytes);
        folder.run(RESUME).fails(65, &[file.as_str(), why, fallback]);
    }
    folder.replace("pretrained", "kept");
    folder.remove(&format!("{newest}/model.safetensors"));
    folder.run(RESUME).fails(65, &[newest, fallback]);
}

#[test]
fn a_refused_resumption_can_be_made_good() {
    let folder = Folder::pretrained();
    folder.write("pretrained/checkpoints/step_000004/state.json", "{");
    folder.run(RESUME).fails(65, &["state.json is damaged"]);
    folder.remove("pretrained/checkpoints/step_000004");
    folder.run(RESUME).done();
    assert_eq!(folder.json("pretrained/results.json")["steps"], 6);
}

/// A model folder that is no run, and its weights.
const PLAIN: &str = "finetune --config finetune.toml --init-from plain";
const WEIGHTS: &str = "plain/model.safetensors";

#[test]
fn damaged_weights_are_refused() {
    let folder = Folder::pretrained();
    folder.replace("plain", "pretrained/model");
    let good = folder.bytes(WEIGHTS);
    let (header, data) = taken_apart(&good);
    let changed = |from: &str, to: &[u8]| {
        let text = header.to_string();
        let at = text.find(from).unwrap_or_else(|| panic!("no {from} in {text}"));
        put_together(&[&text.as_bytes()[..at], to, &text.as_bytes()[at + from.len()..]].concat(), &data)
    };
    let length = |bytes: u64| [&bytes.to_le_bytes()[..], b"{}"].concat();
    for (bytes, why) in [
        (Vec::new(), "(0 bytes) is damaged: header too small"),
        (good[..good.len() / 2].to_vec(), " bytes) is damaged: "),
        (length(1 << 63), "(10 bytes) is damaged: header too large"),
        (length(100_000_001), "(10 bytes) is damaged: header too large"),
        (changed("norm", b"n\xffrm"), "UTF-8"),
        (changed("\"data_offsets\":[0,", b"\"data_offsets\":[4,"), "is damaged: "),
        ([&good[..], b"more"].concat(), "is damaged: "),
    ] {
        folder.write(WEIGHTS, bytes);
        folder.run(PLAIN).fails(65, &[WEIGHTS, why]);
    }
}

#[test]
fn tensors_that_do_not_fit_the_model_are_refused_by_name() {
    const NORM: &str = "model.norm.weight";
    let folder = Folder::pretrained();
    folder.replace("plain", "pretrained/model");
    let (header, data) = taken_apart(&folder.bytes(WEIGHTS));
    let refused = |change: &dyn Fn(&mut Value, &mut Vec<u8>), parts: &[&str]| {
        let (mut header, mut data) = (header.clone(), data.clone());
        change(&mut header, &mut data);
        folder.write(WEIGHTS, put_together(header.to_string().as_bytes(), &data));
        folder.run(PLAIN).fails(65, &[&[WEIGHTS][..], parts].concat());
    };
    let renamed = |header: &mut Value, _: &mut Vec<u8>| {
        let tensor = header.as_object_mut().unwrap().remove(NORM).unwrap();
        header["other"] = tensor;
    };
    refused(&renamed, &["tensor model.norm.weight is missing, expected shape [16]"]);
    let reshaped = |header: &mut Value, _: &mut Vec<u8>| header[NORM]["shape"] = json!([4, 4]);
    refused(&reshaped, &["tensor model.norm.weight has shape [4, 4], expected [16]"]);
    let integers = |header: &mut Value, _: &mut Vec<u8>| header[NORM]["dtype"] = json!("I32");
    refused(&integers, &["tensor model.norm.weight has dtype I32, expected F32"]);
    let extra = |header: &mut Value, data: &mut Vec<u8>| {
        let offsets = [data.len(), data.len() + 4];
        header["other"] = json!({"dtype": "F32", "shape": [1], "data_offsets": offsets});
        data.extend([0; 4]);
    };
    refused(&extra, &["1 unexpected tensors: other"]);
    let [nan, infinite] = ["NaN at index 2", "inf at index 2"];
    for (value, shown) in [(f32::NAN, nan), (f32::INFINITY, infinite), (-3e38, "-3e38, which is too large")] {
        let not_finite = |header: &mut Value, data: &mut Vec<u8>| {
            let at = header[NORM]["data_offsets"][0].as_u64().unwrap() as usize + 8;
            data[at..at + 4].copy_from_slice(&value.to_le_bytes());
        };
        refused(&not_finite, &[format!("tensor model.norm.weight holds {shown}").as_str()]);
    }
}

#[test]
fn a_changed_config_does_not_resume() {
    let folder = Folder::pretrained();
    for (set, change) in [
        ("model.num_hidden_layers=2", "model.num_hidden_layers: 1 -> 2"),
        ("tokenizer.vocab_size=301", "tokenizer.vocab_size: 300 -> 301"),
        ("train.seq_len=8", "train.seq_len: 16 -> 8"),
        ("seed=2", "seed: 1 -> 2"),
    ] {
        let parts = [change, "set it back, or start anew with --overwrite"];
        folder.run(&format!("pretrain --config pretrain.toml --resume --set {set}")).fails(2, &parts);
    }
    let outcome = folder.run(&format!("{RESUME} --set optim.learning_rate=0.005")).done();
    for change in
        ["resuming with train.max_steps: 4 -> 6", "resuming with optim.learning_rate: 0.01 -> 0.005"]
    {
        assert!(outcome.stderr.contains(change), "{}", outcome.stderr);
    }
}

#[test]
fn changed_data_does_not_resume_unless_allowed() {
    let folder = Folder::new();
    folder.run("tokenizer train corpus.txt --output tok.json --vocab-size 300").done();
    let own = "--set tokenizer.path=tok.json";
    folder.run(&format!("pretrain --config pretrain.toml {own}")).done();
    folder.write("corpus.txt", folder.text("corpus.txt") + "one more line\n");
    let parts =
        ["pretrained/checkpoints/step_000004: the data is ", "the checkpoint's was ", "--allow-data-change"];
    folder.run(&format!("{RESUME} {own}")).fails(65, &parts);
    let outcome = folder.run(&format!("{RESUME} {own} --set train.max_steps=7 --allow-data-change")).done();
    assert!(outcome.stderr.contains("warning: the data is "), "{}", outcome.stderr);
}

#[test]
fn another_tokenizer_does_not_resume() {
    let folder = Folder::new();
    folder.run("tokenizer train corpus.txt --output tok.json --vocab-size 300").done();
    let own = "--set tokenizer.path=tok.json";
    folder.run(&format!("pretrain --config pretrain.toml {own}")).done();
    folder.run("tokenizer train corpus.txt --output tok.json --vocab-size 290 --overwrite").done();
    let parts =
        ["pretrained/checkpoints/step_000004: the tokenizer is ", "the checkpoint's was ", "--overwrite"];
    folder.run(&format!("{RESUME} {own}")).fails(65, &parts);
}

#[test]
fn without_a_command_the_help_is_shown() {
    for arguments in [&[][..], &["data"]] {
        let output = Folder::new().train(arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr.contains("Usage: train") && !stderr.contains("error:"), "{stderr}");
    }
}

#[test]
fn config_mistakes_are_shown_by_line() {
    let folder = Folder::new();
    let check = "config check pretrain --config x.toml";
    let cases: &[(&str, &[&str])] = &[
        ("[train]\n\nmax_stepz = 3\n", &["x.toml:3: unknown key 'train.max_stepz'", "'train.max_steps'?"]),
        ("[train]\nmax_steps = \"three\"\n", &["x.toml:2: ", "\"three\""]),
        ("[train]\nmicro_batch_size = 0\n", &["train.micro_batch_size is 0; it must lie in 1..="]),
        ("[train]\nmax_steps = -1\n", &["x.toml:2: ", "-1"]),
        ("[train]\nmax_steps = 99999999999999999999999\n", &["x.toml:2: ", "99999999999999999999999"]),
        ("[optim]\nlearning_rate = 1e30\n", &["optim.learning_rate is 1", "between 0 and 100"]),
        ("[optim]\nlearning_rate = nan\n", &["optim.learning_rate is NaN"]),
        ("[optim]\nkind = \"sgd\"\n", &["x.toml:2: ", "sgd", "adamw", "muon"]),
        ("[optim]\nmuon_momentum = 1\n", &["optim.muon_momentum is 1"]),
        ("\nseed = \n", &["x.toml:2: "]),
        ("\n \n", &["x.toml:1: the config is empty"]),
    ];
    for (text, parts) in cases {
        folder.write("x.toml", text);
        folder.run(check).fails(2, parts);
    }
    folder.write("x.toml", b"seed = 1\nprompts = [\"\xe9\"]\n");
    folder.run(check).fails(2, &["x.toml:2: the config is not UTF-8 text"]);
    let resolved = folder.run("config check compare --config compare.toml --json").done().object();
    assert_eq!(resolved["finetune"]["train"]["seq_len"], 24);
    let parts = ["finetune.toml is a config of `train finetune`, not of `train pretrain`"];
    folder.run("pretrain --config finetune.toml").fails(2, &parts);
    folder.run("config check pretrain --config .").fails(2, &["config . is a folder"]);
    folder.run("config check pretrain --config none.toml").fails(66, &["cannot read none.toml"]);
    let unknown = ["--set train.max_stepz=3: unknown key 'train.max_stepz', did you mean 'train.max_steps'?"];
    folder.run("pretrain --config pretrain.toml --set train.max_stepz=3").fails(2, &unknown);
    folder.run("pretrain --config pretrain.toml --set seed").fails(2, &["--set seed: expected key=value"]);
    folder.run("pretrain").fails(2, &["no config: give --config FILE"]);
}

#[test]
fn text_that_is_not_there_is_refused() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("empty")).unwrap();
    folder.write("empty.txt", "");
    let refused = |source: &str, code: i32, parts: &[&str]| {
        folder
            .run(&format!("pretrain --config pretrain.toml --set data.train=[\"{source}\"]"))
            .fails(code, parts);
    };
    refused("none.txt", 66, &["cannot read none.txt: ", "check the path"]);
    refused("*.none", 66, &["no file matches data source '*.none'"]);
    refused("empty", 66, &["folder empty is empty"]);
    refused("empty.txt", 65, &["empty.txt is empty"]);
    #[cfg(unix)]
    {
        let made = std::process::Command::new("mkfifo").arg(folder.path("pipe")).status().unwrap();
        assert!(made.success());
        refused("pipe", 66, &["cannot read pipe: it is not a regular file"]);
    }
    folder.run("finetune --config finetune.toml").fails(66, &["no model at pretrained"]);
    folder.run("predict none hello").fails(66, &["no model at none"]);
    folder.run("report empty").fails(66, &["empty/results.json"]);
}

#[test]
fn text_that_is_not_utf8_is_refused_unless_allowed() {
    let folder = Folder::new();
    let line = "pretrain --config pretrain.toml --set data.train=[\"x.txt\"]";
    let cases: &[(&[u8], &[&str])] = &[
        (b"good\n\ncaf\xe9 and\n", &["x.txt:3 (byte 9): not UTF-8 text", "Latin-1", "data.lossy = true"]),
        (b"good\n\nab\0c\n", &["x.txt:3 (byte 8): not UTF-8 text", "NUL", "data.lossy = true"]),
        (b"\xff\xfeh\0i\0", &["x.txt:1 (byte ", "UTF-16", "iconv"]),
    ];
    for (bytes, parts) in cases {
        folder.write("x.txt", bytes);
        folder.run(line).fails(65, parts);
    }
    folder.write("x.txt", [&b"\xef\xbb\xbfcaf\xe9 "[..], folder.text("corpus.txt").as_bytes()].concat());
    folder.run(line).fails(65, &["x.txt:1 (byte 6): not UTF-8 text"]);
    folder.run(&format!("{line} --set data.lossy=true")).done();
}

#[test]
fn bad_labelled_rows_are_refused() {
    let folder = Folder::pretrained();
    let refused = |name: &str, text: &str, parts: &[&str]| {
        folder.write(name, text);
        folder.run(&format!("finetune --config finetune.toml --set data.train={name}")).fails(65, parts);
    };
    refused("x.csv", "label,text\nham,a,b\n", &["x.csv:2: 3 fields, the header has 2"]);
    refused("x.csv", "label,text\nham,\"b\n", &["x.csv:2: a quote opens"]);
    refused("x.csv", "kind,text\nham,b\n", &["x.csv:1: no column 'label'"]);
    refused("x.jsonl", "{\"label\":1,\"text\":\"a\"}\n{\"label\":1,", &["x.jsonl:2:11: EOF"]);
    refused("x.jsonl", &"[".repeat(1 << 20), &["x.jsonl:1:"]);
    refused("x.tsv", "ham\ta\nham\tb\n", &["x.tsv has only one class, 'ham' (2 rows)"]);
    refused("x.tsv", "ham\ta\n\tb\n", &["x.tsv:2: the label is empty"]);

    folder.run("finetune --config finetune.toml").done();
    folder.write("x.tsv", "ham\ta\nspma\tb\n");
    let parts = ["x.tsv:2: unknown label 'spma', known: 'ham', 'spam'"];
    folder.run("evaluate finetuned --data x.tsv").fails(65, &parts);
}

#[test]
fn too_little_text_is_refused_with_both_numbers() {
    let folder = Folder::new();
    folder.write("short.txt", "one two three\n");
    let sources = "--set data.train=[\"short.txt\"] --set data.validation=[\"corpus.txt\"]";
    let parts = ["the training text has ", " tokens, train.seq_len 16 needs 32", "smaller train.seq_len"];
    folder.run(&format!("pretrain --config pretrain.toml {sources}")).fails(65, &parts);
    let parts = ["has 60 training and 0 validation documents", "data.validation_fraction"];
    folder.run("pretrain --config pretrain.toml --set data.validation_fraction=0.000001").fails(65, &parts);
}

#[test]
fn a_model_whose_answers_are_no_numbers_gives_none() {
    let folder = Folder::pretrained();
    folder.run("finetune --config finetune.toml").done();
    let asked = [
        ("finetuned", "predict huge hello"),
        ("finetuned", "evaluate huge --data messages.tsv"),
        ("pretrained", "generate huge --prompt the"),
        ("pretrained", "evaluate huge --data corpus.txt"),
    ];
    for (run, line) in asked {
        folder.replace("huge", &format!("{run}/model"));
        let path = folder.path("huge/model.safetensors");
        // Each can be squared, their products cannot.
        let huge = |tensor: &Tensor| Tensor::full(9e17f32, tensor.dims(), &Device::Cpu).unwrap();
        let weights = tensor_file::read(&path).unwrap();
        let weights = weights.iter().map(|(name, tensor)| (name.clone(), huge(tensor))).collect();
        tensor_file::write(&path, &weights).unwrap();
        folder.run(line).fails(65, &["not finite", "weights"]);
    }
}

#[test]
fn a_run_that_diverges_stops_and_can_go_on() {
    let folder = Folder::pretrained();
    // Weight decay of 100 at a rate of 100 multiplies each weight by -9999 in each step.
    let wild = "--set optim.learning_rate=100 --set optim.weight_decay=100 --set optim.max_grad_norm=0";
    let rare = "--set train.save_interval=0 --set train.eval_interval=0 --set train.max_steps=100";
    let line = format!("pretrain --config pretrain.toml --resume {rare} {wild}");
    let parts = [
        "training diverged at step ",
        "NaN",
        "optim.learning_rate",
        "step_000004 is from before the loss rose",
    ];
    folder.run(&line).fails(76, &parts);
    assert_eq!(folder.json("pretrained/run.json")["status"], "failed");
    // Where an evaluation meets it first too.
    let line = line.replace("train.eval_interval=0", "train.eval_interval=1");
    folder.run(&line).fails(76, &["training diverged at step ", "optim.learning_rate"]);
    folder.run(RESUME).done();
    assert_eq!(folder.json("pretrained/results.json")["steps"], 6);
}
