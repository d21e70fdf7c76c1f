//! GGUF files of llama.cpp as the model that a run starts from.

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value;
use candle_core::{Device, Tensor};
use train::internals::hf_folder;
use train::model::ModelConfig;
use train::tokenizer::Tokenizer;

use crate::hostile::formats::small_gguf::{END, ROWS, SmallGguf};
use crate::support::{Folder, GPT2, LLAMA};

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The numbers that the file holds under a name of llama.cpp.
fn held(file: &SmallGguf, name: &str) -> Tensor {
    let (_, tensor) = file.tensors.iter().find(|(found, _)| found == name).unwrap();
    tensor.dequantize(&Device::Cpu).unwrap()
}

fn a_small_llama() -> SmallGguf {
    SmallGguf::llama(32, GgmlDType::F32)
}

#[test]
fn every_kind_of_tensor_is_read_as_the_numbers_it_stands_for() {
    use GgmlDType::{BF16, F16, F32, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
    let folder = Folder::new();
    for dtype in [F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2K, Q3K, Q4K, Q5K, Q6K] {
        let file = SmallGguf::llama(256, dtype);
        folder.write("x.gguf", file.bytes());
        let read = hf_folder::load(&folder.path("x.gguf")).unwrap();
        assert_eq!(read.weights.len(), file.tensors.len(), "{dtype:?}");
        for (here, there) in [
            ("model.embed_tokens.weight", "token_embd.weight"),
            ("model.layers.0.self_attn.v_proj.weight", "blk.0.attn_v.weight"),
            ("model.layers.0.mlp.gate_proj.weight", "blk.0.ffn_gate.weight"),
            ("model.layers.0.mlp.down_proj.weight", "blk.0.ffn_down.weight"),
            ("model.norm.weight", "output_norm.weight"),
        ] {
            assert_eq!(values(&read.weights[here]), values(&held(&file, there)), "{dtype:?} {here}");
        }
    }
}

#[test]
fn rotated_rows_and_transposed_matrices_are_laid_out_as_here() {
    let folder = Folder::new();
    let (llama, gpt2) = (SmallGguf::llama(32, GgmlDType::Q8_0), SmallGguf::gpt2(32, GgmlDType::F16));
    folder.write("llama.gguf", llama.bytes());
    folder.write("gpt2.gguf", gpt2.bytes());
    let read = hf_folder::load(&folder.path("llama.gguf")).unwrap();
    for (name, heads) in [("q", 4), ("k", 2)] {
        let there = held(&llama, &format!("blk.0.attn_{name}.weight")).to_vec2::<f32>().unwrap();
        let here = &read.weights[&format!("model.layers.0.self_attn.{name}_proj.weight")];
        let here = here.to_vec2::<f32>().unwrap();
        // llama.cpp rotates rows 2 i and 2 i + 1 of a head together, transformers rows i and i + 4 of 8.
        for (head, i) in (0..heads).flat_map(|head| (0..4).map(move |i| (head, i))) {
            assert_eq!(here[8 * head + i], there[8 * head + 2 * i]);
            assert_eq!(here[8 * head + i + 4], there[8 * head + 2 * i + 1]);
        }
    }
    let read = hf_folder::load(&folder.path("gpt2.gguf")).unwrap();
    let there = held(&gpt2, "blk.0.ffn_up.weight").t().unwrap();
    assert_eq!(values(&read.weights["transformer.h.0.mlp.c_fc.weight"]), values(&there));
    assert_eq!(
        values(&read.weights["transformer.h.0.attn.c_attn.bias"]),
        values(&held(&gpt2, "blk.0.attn_qkv.bias"))
    );
    assert_eq!(values(&read.weights["transformer.wpe.weight"]), values(&held(&gpt2, "position_embd.weight")));
}

/// What config.json says, but for how weights were once drawn.
fn sizes(config: &ModelConfig) -> serde_json::Value {
    let mut keys = serde_json::to_value(config).unwrap();
    keys["initializer_range"].take();
    keys
}

#[test]
fn what_is_exported_comes_back() {
    let texts: Vec<String> =
        ["", "the cat walked 12345 miles, didn't it?\n\n", "  naïve £5 😀 中国 ", "<|endoftext|>"]
            .map(String::from)
            .to_vec();
    let wide =
        |model: &str| model.replace("48", "64").replace("num_attention_heads = 6", "num_attention_heads = 4");
    for (model, single_digits) in [(wide(LLAMA), "true"), (wide(GPT2), "false")] {
        let folder = Folder::of_model(&model);
        folder
            .run(&format!("pretrain --config pretrain.toml --set tokenizer.single_digits={single_digits}"))
            .done();
        let own = hf_folder::load(&folder.path("pretrained/model")).unwrap();
        for quantization in ["f32", "q8_0"] {
            folder
                .run(&format!("export pretrained --to {quantization}.gguf --quantize {quantization}"))
                .done();
            let read = hf_folder::load(&folder.path(&format!("{quantization}.gguf"))).unwrap();
            assert_eq!(sizes(&read.config), sizes(&own.config));
            assert_eq!((read.max_tokens, &read.label_names), (own.max_tokens, &own.label_names));
            assert_eq!(
                read.tokenizer.encode_batch(&texts).unwrap(),
                own.tokenizer.encode_batch(&texts).unwrap()
            );
            let special = |t: &Tokenizer| (t.begin_of_text(), t.end_of_text(), t.pad(), t.vocab_size());
            assert_eq!(special(&read.tokenizer), special(&own.tokenizer));
            assert_eq!(read.tokenizer.token_bytes(), own.tokenizer.token_bytes());
            assert!(read.weights.keys().eq(own.weights.keys()));
            let bound = if quantization == "f32" { 0.0 } else { 1.0 / 127.0 };
            for (name, tensor) in &own.weights {
                let (expected, found) = (values(tensor), values(&read.weights[name]));
                let largest = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
                let off = expected.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(off <= bound * largest, "{name}: {off}");
            }
        }
        let line = "generate pretrained --prompt cat --temperature 0 --max-new-tokens 8";
        let text = folder.run(line).done().stdout;
        assert_eq!(folder.run(&line.replace("pretrained", "f32.gguf")).done().stdout, text);
        folder.run("export f32.gguf --to folder").done();
        assert_eq!(folder.run(&line.replace("pretrained", "folder")).done().stdout, text);
        folder.run("export f32.gguf --to f32.gguf --overwrite").fails(73, &["f32.gguf is what is exported"]);
    }
}

#[test]
fn a_file_is_where_every_command_may_start() {
    let folder = Folder::new();
    folder.write("x.gguf", SmallGguf::llama(32, GgmlDType::Q4_0).bytes());
    folder.run("export x.gguf --to folder").done();
    let runs = [
        "pretrain --config pretrain.toml",
        "finetune --config finetune.toml",
        "finetune --config finetune.toml --set lora.r=2",
    ];
    for line in runs {
        let sums = ["x.gguf", "folder"].map(|start| {
            let line = format!("{line} --set init_from={start} --set output_dir=out-{start} --overwrite");
            folder.run(&line).done();
            let run = folder.json(&format!("out-{start}/run.json"));
            assert_eq!(run["init_from"], start);
            (run["start_sha256"].clone(), run["model_sha256"]["model.safetensors"].clone())
        });
        assert!(sums[0] == sums[1] && sums[0].0.as_str().unwrap().len() == 64, "{line}: {sums:?}");
    }
    let line = "finetune --config finetune.toml --set init_from=x.gguf --set output_dir=out-x.gguf";
    folder.run(&format!("{line} --set lora.r=2 --set train.max_steps=6 --resume")).done();
    folder.run("predict out-x.gguf free").done();
    folder.write("x.gguf", SmallGguf::llama(32, GgmlDType::Q4_1).bytes());
    let other = format!("{line} --set lora.r=2 --set train.max_steps=8 --resume");
    folder.run(&other).fails(65, &["weights that are not trained are"]);

    let of = |what: &str| {
        ["x.gguf", "folder"].map(|start| folder.run(&what.replace("START", start)).done().stdout)
    };
    folder.run("export x.gguf --to folder --overwrite").done();
    let [from_file, from_folder] = of("evaluate START --data corpus.txt");
    assert_eq!(from_file, from_folder);
    let [from_file, from_folder] = of("tokenizer inspect START --text 1234 --json");
    assert_eq!(from_file, from_folder);
    folder.run("predict x.gguf free").fails(65, &["x.gguf", "it is no classifier"]);
    folder.run("compare --config compare.toml --set pretrained=x.gguf").done();
    let pretrained = folder.json("compared/run.json");
    assert_eq!(
        pretrained["start_sha256"],
        folder.json("compared/pretrained-20-seed1/run.json")["start_sha256"]
    );
    folder.run("generate none.gguf --prompt a").fails(66, &["none.gguf", "check the path"]);
}

#[test]
fn a_head_of_its_own_is_kept_and_one_that_is_the_embedding_again_is_tied() {
    let folder = Folder::new();
    for dtype in [GgmlDType::F16, GgmlDType::Q8_0] {
        let mut file = SmallGguf::llama(32, GgmlDType::F16);
        file.add_values("output.weight", &held(&file, "token_embd.weight"), dtype);
        folder.write("x.gguf", file.bytes());
        let read = hf_folder::load(&folder.path("x.gguf")).unwrap();
        assert_eq!(read.config.tie_word_embeddings(), dtype == GgmlDType::F16);
        assert_eq!(read.weights.contains_key("lm_head.weight"), dtype == GgmlDType::Q8_0);
    }
}

#[test]
fn text_is_cut_into_words_by_the_rule_of_the_file() {
    let folder = Folder::new();
    let read = |pre: Option<&str>| {
        let mut file = a_small_llama();
        file.set("tokenizer.ggml.pre", pre.map(|pre| Value::String(pre.into())));
        file.set("tokenizer.ggml.bos_token_id", Value::U32(END));
        folder.write("x.gguf", file.bytes());
        Tokenizer::load(&folder.path("x.gguf")).unwrap()
    };
    // Merges join 12345, Ġ1, Ġx, ĊĊ, !!, x! and 'S wherever a word holds them.
    let words = "12345 1 x!! y'S\n\n";
    for (pre, expected) in [
        (Some("gpt-2"), "12345 Ġ1 Ġx !! Ġ y ' S ĊĊ"),
        (Some("smollm"), "1 2 3 4 5 Ġ 1 Ġx !! Ġ y ' S ĊĊ"),
        (Some("default"), "123 4 5 Ġ 1 Ġx !! Ġ y ' S ĊĊ"),
        (None, "123 4 5 Ġ 1 Ġx !! Ġ y ' S ĊĊ"),
        (Some("llama-bpe"), "<|endoftext|> 123 4 5 Ġ 1 Ġx !! Ġ y 'S ĊĊ"),
        (Some("dbrx"), "123 4 5 Ġ 1 Ġx !! Ġ y 'S ĊĊ"),
        (Some("qwen2"), "1 2 3 4 5 Ġ 1 Ġx !! Ġ y 'S ĊĊ"),
    ] {
        let tokenizer = read(pre);
        let ids = tokenizer.encode(words).unwrap();
        let found: Vec<String> = ids.iter().map(|id| tokenizer.token(*id)).collect();
        assert_eq!(found.join(" "), expected, "{pre:?}");
        assert_eq!(tokenizer.decode(&ids).unwrap(), words);
    }
}

#[test]
fn tokens_around_a_text_and_tokens_in_it_are_those_of_the_file() {
    let folder = Folder::new();
    let ids = |change: &dyn Fn(&mut SmallGguf), text: &str| {
        let mut file = a_small_llama();
        change(&mut file);
        folder.write("x.gguf", file.bytes());
        Tokenizer::load(&folder.path("x.gguf")).unwrap().encode(text).unwrap()
    };
    let adds = |key: &'static str| {
        move |file: &mut SmallGguf| {
            file.set("tokenizer.ggml.bos_token_id", Value::U32(0));
            file.set(&format!("tokenizer.ggml.{key}"), Value::Bool(true));
        }
    };
    assert_eq!(ids(&adds("add_bos_token"), "x"), [0, u32::from(b'x')]);
    assert_eq!(ids(&adds("add_eos_token"), "x"), [u32::from(b'x'), END]);
    let typed = |kind: i32| {
        move |file: &mut SmallGguf| {
            let types = (0..ROWS).map(|id| Value::I32(if id as u32 == END { kind } else { 1 }));
            file.set("tokenizer.ggml.token_type", Value::Array(types.collect()));
        }
    };
    // A control token is text where text spells it, an added token is found.
    assert!(ids(&typed(3), "<|endoftext|>").len() > 1);
    assert_eq!(ids(&typed(4), "<|endoftext|>"), [END]);
    let whole = |file: &mut SmallGguf| {
        file.set("tokenizer.ggml.pre", Value::String("llama3".into()));
        file.set("tokenizer.ggml.add_bos_token", Value::Bool(false));
        file.set("tokenizer.ggml.merges", Value::Array(vec![Value::String("Ġ 1".into())]));
    };
    assert_eq!(ids(&whole, "123"), [256 + 1], "a word that is a token needs no merges");
}

#[test]
fn what_cannot_be_computed_alike_is_refused_by_key() {
    let folder = Folder::new();
    let text = |value: &str| Some(Value::String(value.into()));
    let numbers =
        |values: &[u32]| Some(Value::Array(values.iter().map(|value| Value::U32(*value)).collect()));
    let cases: [(&str, Option<Value>, &[&str]); 20] = [
        ("general.architecture", text("qwen2"), &["general.architecture is 'qwen2'", "llama and gpt2"]),
        ("general.architecture", None, &["no key general.architecture", "convert"]),
        ("llama.block_count", None, &["no key llama.block_count"]),
        ("llama.block_count", Some(Value::U32(2)), &["tensor blk.1.", "is missing"]),
        ("llama.block_count", Some(Value::U32(4_000_000_000)), &["num_hidden_layers"]),
        ("llama.feed_forward_length", numbers(&[64]), &["llama.feed_forward_length is a list"]),
        ("llama.attention.head_count_kv", Some(Value::U32(3)), &["3 key-value heads"]),
        ("llama.attention.layer_norm_rms_epsilon", Some(Value::F32(f32::NAN)), &["rms_epsilon is NaN"]),
        ("llama.rope.scaling.type", text("yarn"), &["llama.rope.scaling.type is 'yarn'", "rope scaling"]),
        ("llama.rope.dimension_count", Some(Value::U32(4)), &["llama.rope.dimension_count is 4"]),
        ("llama.expert_count", Some(Value::U32(8)), &["llama.expert_count is 8", "experts"]),
        ("llama.attention.sliding_window", Some(Value::U32(16)), &["sliding_window is 16"]),
        ("llama.logit_scale", Some(Value::F32(0.5)), &["llama.logit_scale is 0.5"]),
        ("tokenizer.ggml.model", text("llama"), &["tokenizer.ggml.model is 'llama'", "Hugging Face folder"]),
        ("tokenizer.ggml.pre", text("tekken"), &["tokenizer.ggml.pre is 'tekken'", "smollm", "llama-bpe"]),
        ("tokenizer.ggml.pre", text("llama3"), &["no key tokenizer.ggml.bos_token_id"]),
        ("tokenizer.ggml.merges", None, &["no key tokenizer.ggml.merges"]),
        ("tokenizer.ggml.eos_token_id", None, &["no key tokenizer.ggml.eos_token_id"]),
        ("tokenizer.ggml.eos_token_id", Some(Value::U32(9999)), &["eos_token_id is 9999"]),
        (
            "tokenizer.ggml.token_type",
            Some(Value::Array(vec![Value::I32(1)])),
            &["268 entries, token_type 1"],
        ),
    ];
    for (key, value, parts) in cases {
        let mut file = a_small_llama();
        file.set(key, value);
        folder.write("x.gguf", file.bytes());
        folder.run("generate x.gguf --prompt a").fails(65, &[&["x.gguf"], parts].concat());
    }
    let mut file = a_small_llama();
    file.add("rope_freqs.weight", &[4], GgmlDType::F32);
    folder.write("x.gguf", file.bytes());
    folder.run("generate x.gguf --prompt a").fails(65, &["rope_freqs.weight", "rope scaling"]);
}
