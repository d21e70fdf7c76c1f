//! Models that other programs wrote: what is read as it is, and what is refused by name.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use train::internals::hf_folder;
use train::internals::tensor_file;
use train::model::ModelConfig;
use train::tokenizer::Tokenizer;

use crate::support::Folder;

const LINE: &str = "generate model --prompt cat --temperature 0 --max-new-tokens 8";

/// A Hugging Face folder `model` of the family, and what it generates.
fn folder_with_model(family: &str) -> (Folder, String) {
    let gpt2 = "model_type = \"gpt2\"\nn_embd = 16\nn_layer = 1\nn_head = 2\nn_positions = 32\n";
    let folder = if family == "gpt2" { Folder::of_model(gpt2) } else { Folder::new() };
    folder.run("pretrain --config pretrain.toml").done();
    folder.run("export pretrained --to model").done();
    let text = folder.run(LINE).done().stdout;
    (folder, text)
}

/// Changes one key of a JSON file; null removes it.
fn set(folder: &Folder, file: &str, key: &str, value: Value) {
    let mut keys = folder.json(file);
    match value {
        Value::Null => keys.as_object_mut().unwrap().remove(key),
        value => keys.as_object_mut().unwrap().insert(key.into(), value),
    };
    folder.write(file, keys.to_string());
}

/// Writes the tensors under other names, converted by `bytes`.
fn rewrite(
    folder: &Folder,
    dtype: safetensors::Dtype,
    name: impl Fn(&str) -> String,
    bytes: impl Fn(f32) -> Vec<u8>,
    more: &[(&str, Vec<u8>)],
) {
    let path = folder.path("model/model.safetensors");
    let mut stored: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    let is_extra = |name: &str| name.ends_with(".attn.bias") || name.ends_with("inv_freq");
    for (old, tensor) in tensor_file::read_some(&path, |name| !is_extra(name)).unwrap() {
        let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        stored.push((name(&old), tensor.dims().to_vec(), values.into_iter().flat_map(&bytes).collect()));
    }
    let mut views: Vec<(String, TensorView)> = stored
        .iter()
        .map(|(name, shape, bytes)| (name.clone(), TensorView::new(dtype, shape.clone(), bytes).unwrap()))
        .collect();
    for (name, bytes) in more {
        let view = TensorView::new(safetensors::Dtype::U8, vec![bytes.len()], bytes).unwrap();
        views.push((name.to_string(), view));
    }
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    folder.write("model/model.safetensors", safetensors::serialize(views, Some(metadata)).unwrap());
}

#[test]
fn keys_that_change_the_mathematics_are_refused_by_name() {
    let (folder, text) = folder_with_model("llama");
    let config = folder.text("model/config.json");
    for (key, value) in [
        ("hidden_act", json!("gelu")),
        ("rope_scaling", json!({"rope_type": "linear", "factor": 2.0})),
        ("rope_parameters", json!({"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0})),
        ("rope_parameters", json!({"rope_type": "default", "partial_rotary_factor": 0.5})),
        ("sliding_window", json!(4096)),
        ("attention_bias", json!(true)),
        ("mlp_bias", json!(true)),
        ("pretraining_tp", json!(2)),
        ("quantization_config", json!({"bits": 4})),
        ("rope_interleaved", json!(true)),
        ("auto_map", json!({"AutoModel": "code.Model"})),
        ("attention_multiplier", json!(0.1)),
        ("use_qk_norm", json!(true)),
        ("model_type", json!("mistral")),
    ] {
        set(&folder, "model/config.json", key, value);
        folder.run(LINE).fails(65, &["config.json", key]);
        folder.write("model/config.json", &config);
    }
    for (key, value) in [
        ("use_cache", json!(false)),
        ("transformers_version", json!("9.9")),
        ("_name_or_path", json!("x")),
        ("rope_scaling", json!({"type": "default"})),
        ("some_new_feature", json!(false)),
        ("some_other_feature", json!(null)),
        ("task_specific_params", json!({"text-generation": {"do_sample": true}})),
    ] {
        set(&folder, "model/config.json", key, value);
        assert_eq!(folder.run(LINE).done().stdout, text, "{key}");
    }
}

#[test]
fn the_rotary_base_is_found_in_both_places() {
    let (folder, _) = folder_with_model("llama");
    let theta = || match hf_folder::read_config(&folder.path("model")).unwrap().config {
        ModelConfig::Llama(config) => config.rope_theta,
        _ => panic!("not a Llama"),
    };
    set(&folder, "model/config.json", "rope_theta", json!(3.0));
    set(&folder, "model/config.json", "rope_parameters", Value::Null);
    assert_eq!(theta(), 3.0);
    set(&folder, "model/config.json", "rope_theta", Value::Null);
    set(&folder, "model/config.json", "rope_parameters", json!({"rope_type": "default", "rope_theta": 5.0}));
    assert_eq!(theta(), 5.0);
    set(&folder, "model/config.json", "rope_parameters", Value::Null);
    assert_eq!(theta(), 10_000.0);
}

#[test]
fn sizes_left_out_are_those_of_transformers() {
    let (folder, _) = folder_with_model("gpt2");
    for key in ["n_inner", "layer_norm_epsilon", "tie_word_embeddings"] {
        set(&folder, "model/config.json", key, Value::Null);
    }
    folder.run(LINE).done();
    set(&folder, "model/config.json", "n_positions", Value::Null);
    folder.run(LINE).fails(65, &["wpe.weight has shape [32, 16], expected [1024, 16]"]);
}

#[test]
fn half_precision_and_the_names_of_headless_models_are_read() {
    for family in ["llama", "gpt2"] {
        let (folder, text) = folder_with_model(family);
        let bare =
            |name: &str| name.trim_start_matches("transformer.").trim_start_matches("model.").to_string();
        let masks = [("h.0.attn.bias", vec![1; 4]), ("layers.0.self_attn.rotary_emb.inv_freq", vec![1; 4])];
        let f32s = |value: f32| value.to_le_bytes().to_vec();
        rewrite(&folder, safetensors::Dtype::F32, bare, f32s, &masks);
        assert_eq!(folder.run(LINE).done().stdout, text, "{family}");
        let before = hf_folder::load(&folder.path("model")).unwrap().weights;
        let bf16s = |value: f32| half::bf16::from_f32(value).to_le_bytes().to_vec();
        rewrite(&folder, safetensors::Dtype::BF16, bare, bf16s, &[]);
        let after = hf_folder::load(&folder.path("model")).unwrap().weights;
        for (name, tensor) in &before {
            let values =
                |tensor: &candle_core::Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let rounded: Vec<f32> =
                values(tensor).into_iter().map(|value| half::bf16::from_f32(value).to_f32()).collect();
            assert_eq!(values(&after[name]), rounded, "{name}");
        }
    }
}

#[test]
fn what_an_index_promises_must_be_there() {
    let (folder, text) = folder_with_model("llama");
    let tensors = tensor_file::read(&folder.path("model/model.safetensors")).unwrap();
    let index = |file: &str| {
        let map: BTreeMap<&String, &str> = tensors.keys().map(|name| (name, file)).collect();
        folder.write("model/model.safetensors.index.json", json!({"weight_map": map}).to_string());
    };
    std::fs::rename(folder.path("model/model.safetensors"), folder.path("model/a.safetensors")).unwrap();
    index("a.safetensors");
    assert_eq!(folder.run(LINE).done().stdout, text);
    index("b.safetensors");
    folder.run(LINE).fails(66, &["b.safetensors"]);
    index("../a.safetensors");
    folder.run(LINE).fails(65, &["'../a.safetensors' is not the name of a safetensors file"]);
    let mut fewer = tensors.clone();
    fewer.remove("model.norm.weight");
    tensor_file::write(&folder.path("model/a.safetensors"), &fewer).unwrap();
    index("a.safetensors");
    folder.run(LINE).fails(65, &["tensor model.norm.weight is not in a.safetensors"]);
    folder.write("model/model.safetensors.index.json", "{}");
    folder.run(LINE).fails(65, &["not an index of safetensors files"]);
    folder.remove("model/model.safetensors.index.json");
    folder.write("model/pytorch_model.bin", "pickled");
    folder.run(LINE).fails(66, &["no model.safetensors", "pytorch_model.bin is not read"]);
}

#[test]
fn vocab_and_merges_are_a_tokenizer_too() {
    let (folder, _) = folder_with_model("gpt2");
    let described = folder.json("model/tokenizer.json")["model"].clone();
    let merges = described["merges"].as_array().unwrap().iter().map(|pair| match pair {
        Value::String(pair) => pair.clone(),
        pair => format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
    });
    let merges = merges.collect::<Vec<_>>().join("\n");
    let before = Tokenizer::load(&folder.path("model")).unwrap();
    folder.write("model/vocab.json", described["vocab"].to_string());
    folder.write("model/merges.txt", format!("#version: 0.2\n{merges}\n"));
    folder.remove("model/tokenizer.json");
    let after = Tokenizer::load(&folder.path("model")).unwrap();
    for text in ["the cat walked to the river", "  ünï <|endoftext|>", "day 12.\n"] {
        assert_eq!(after.encode(text).unwrap(), before.encode(text).unwrap(), "{text}");
    }
    assert_eq!((after.end_of_text(), after.pad()), (before.end_of_text(), before.pad()));
    folder.run("finetune --config finetune.toml --init-from model").done();
    // Every command takes it; the fine-tuned model's ends each text itself, and that end counts once.
    folder.write("rows.tsv", "ham\tone two three\nham\tOne  two three\nspam\ttwo words\nspam\ta\n");
    let counted = |tokenizer: &str| {
        let line = format!("data inspect rows.tsv --seq-len 4 --json --tokenizer {tokenizer}");
        folder.run(&line).done().object()["tokens"].clone()
    };
    assert_eq!(counted("model"), counted("pretrained"));
    assert_eq!(counted("finetuned"), counted("pretrained"));
    let longest = before.encode("One  two three").unwrap().len() as u64;
    assert_eq!(counted("finetuned")["lengths"]["max"], longest + 1);
    folder.run("tokenizer inspect model --text home").done();
    folder.remove("model/merges.txt");
    folder.run(LINE).fails(66, &["merges.txt"]);
    folder.write("model/merges.txt", "not merges at all\n");
    folder.run(LINE).fails(65, &["not a byte-level BPE"]);
}

#[test]
fn pretraining_goes_on_from_a_foreign_model() {
    let (folder, _) = folder_with_model("gpt2");
    let line = "pretrain --config pretrain.toml --set init_from=model --set output_dir=on";
    folder.run(line).done();
    let (before, after) = (folder.json("pretrained/results.json"), folder.json("on/results.json"));
    assert!(after["val_loss"].as_f64().unwrap() < before["val_loss"].as_f64().unwrap());
    assert_eq!(folder.json("on/model/config.json"), folder.json("model/config.json"));
}

#[test]
fn an_export_is_the_same_model_and_never_overwrites_by_chance() {
    let (folder, text) = folder_with_model("llama");
    folder.run("export pretrained --to model").fails(73, &["model exists", "--overwrite"]);
    folder.run("export pretrained --to model --overwrite").done();
    assert_eq!(folder.run(LINE).done().stdout, text);
    let card = folder.text("model/README.md");
    for part in
        ["library_name: transformers", "pipeline_tag: text-generation", "\"bits_per_byte\"", "model-index: "]
    {
        assert!(card.contains(part), "no {part} in {card}");
    }
    folder.run("finetune --config finetune.toml").done();
    folder.run("export finetuned --to classifier").done();
    let (names, config) = (json!({"0": "ham", "1": "spam"}), folder.json("classifier/config.json"));
    assert_eq!(config["id2label"], names);
    assert_eq!(folder.json("classifier/tokenizer_config.json")["model_max_length"], 24);
    let f1 = folder.json("finetuned/results.json")["test"]["f1"].to_string();
    assert!(folder.text("classifier/README.md").contains(&format!("{{\"type\":\"f1\",\"value\":{f1}}}")));
    let answer =
        |run: &str| folder.run(&format!("predict {run} free")).done().object()["probabilities"].clone();
    assert_eq!(answer("classifier"), answer("finetuned"));
    folder.run("evaluate classifier --data messages.tsv --json").done();
    set(&folder, "classifier/config.json", "id2label", Value::Null);
    let loaded = hf_folder::load(&folder.path("classifier")).unwrap();
    assert_eq!(loaded.label_names, ["LABEL_0", "LABEL_1"]);

    let line = "finetune --config finetune.toml --set output_dir=mean --set classifier.pooling=mean";
    folder.run(line).done();
    folder.run("export mean --to other").fails(65, &["reads by \"mean\"", "classifier.pooling = \"last\""]);
    folder.run(&line.replace("mean", "concat")).done();
    folder
        .run("export concat --to other")
        .fails(65, &["reads by \"concat\"", "classifier.pooling = \"last\""]);
    assert_eq!(answer("concat/model"), answer("concat"));
    set(&folder, "concat/model/config.json", "classifier_pooling", "mean".into());
    folder.run("predict concat/model free").fails(65, &["score.weight"]);
    folder.run("export finetuned --to x.gguf").fails(65, &["a classifier cannot be written as GGUF"]);
    folder.run("export pretrained --to x --quantize q8_0").fails(2, &["--to x", "ends in .gguf"]);
    folder.run("export nowhere --to other").fails(66, &["no model at nowhere"]);
}

#[test]
fn a_gguf_file_holds_every_tensor_and_the_vocabulary() {
    use candle_core::quantized::gguf_file::Content;
    for family in ["llama", "gpt2"] {
        let (folder, _) = folder_with_model(family);
        folder.run("export model --to model.gguf").done();
        let mut file = std::fs::File::open(folder.path("model.gguf")).unwrap();
        let content = Content::read(&mut file).unwrap();
        assert_eq!(content.metadata["general.architecture"].to_string().unwrap(), family);
        assert_eq!(content.metadata["tokenizer.ggml.tokens"].to_vec().unwrap().len(), 300);
        let weights = hf_folder::load(&folder.path("model")).unwrap().weights;
        assert_eq!(content.tensor_infos.len(), weights.len());
        let device = candle_core::Device::Cpu;
        let embedding = content.tensor(&mut file, "token_embd.weight", &device).unwrap();
        let embedding = embedding.dequantize(&device).unwrap().to_vec2::<f32>().unwrap();
        let name = if family == "llama" { "model.embed_tokens.weight" } else { "transformer.wte.weight" };
        assert_eq!(embedding, weights[name].to_vec2::<f32>().unwrap());
    }
}

#[test]
fn tied_embeddings_are_read_under_either_name_and_a_head_of_its_own_is_not_dropped_unseen() {
    for (family, embedding) in [("llama", "model.embed_tokens.weight"), ("gpt2", "transformer.wte.weight")] {
        let (folder, text) = folder_with_model(family);
        let path = folder.path("model/model.safetensors");
        let stored = tensor_file::read_some(&path, |_| true).unwrap();
        let head = |values: &candle_core::Tensor| {
            let mut all = stored.clone();
            all.insert("lm_head.weight".into(), values.clone());
            all
        };
        // Twice the same tensor, as older writers store it.
        tensor_file::write(&path, &head(&stored[embedding])).unwrap();
        assert_eq!(folder.run(LINE).done().stdout, text);
        // Once, under the name of the head.
        let mut once = head(&stored[embedding]);
        once.remove(embedding);
        tensor_file::write(&path, &once).unwrap();
        assert_eq!(folder.run(LINE).done().stdout, text);
        tensor_file::write(&path, &head(&(&stored[embedding] * 2.0).unwrap())).unwrap();
        let parts = ["lm_head.weight is another tensor than", embedding, "tie_word_embeddings"];
        folder.run(LINE).fails(65, &parts);
    }
}
