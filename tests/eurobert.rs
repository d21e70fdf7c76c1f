//! Classifiers that read in both directions: Llama's blocks as transformers' EuroBERT, GPT-2's under another name.

use candle_core::Device;
use serde_json::{Value, json};
use train::internals::tensor_file;
use train::model::{
    Classifier, Gpt2Config, Head, LlamaConfig, ModelConfig, Params, Pooling, parameter_specs,
};

use crate::golden_classifier::{Golden, moved_by_last_token};
use crate::support::Folder;

#[test]
fn logits_loss_and_every_gradient_equal_those_of_the_published_formulas() {
    let config = ModelConfig::EuroBert(LlamaConfig {
        vocab_size: 61,
        hidden_size: 24,
        intermediate_size: 40,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 8,
        max_position_embeddings: 16,
        rms_norm_eps: 1e-2,
        rope_theta: 100.0,
        ..Default::default()
    });
    Golden::read("eurobert", config, Pooling::Mean).assert_holds();
}

#[test]
fn a_later_token_changes_an_earlier_state_in_both_directions_alone() {
    let llama = LlamaConfig { vocab_size: 20, initializer_range: 0.3, ..Default::default() };
    let gpt2 = Gpt2Config { vocab_size: 20, initializer_range: 0.3, ..Default::default() };
    for causal in [ModelConfig::Llama(llama), ModelConfig::Gpt2(gpt2)] {
        let moved = |config: &ModelConfig| {
            let head = Head::Classifier { num_labels: 2, pooling: Pooling::Mean };
            let params = Params::init(&parameter_specs(config, head), 1, &Device::Cpu).unwrap();
            moved_by_last_token(&Classifier::new(config, &params.detached(), Pooling::Mean).unwrap())
        };
        assert_eq!(moved(&causal), 0.0);
        assert!(moved(&causal.clone().bidirectional()) > 1e-3, "{causal:?}");
    }
}

const LINE: &str = "finetune --config finetune.toml --set classifier.attention=bidirectional";
const GPT2: &str = "model_type = \"gpt2\"\nn_embd = 16\nn_layer = 1\nn_head = 2\nn_positions = 32\n";

/// Probabilities of both labels, text by text.
fn answers(folder: &Folder, model: &str) -> Vec<Value> {
    folder.write("texts.txt", "win a prize now\nthe cat looked at the river\n\u{e9}t\u{e9}\n");
    let lines = folder.run(&format!("predict {model} --input texts.txt --json")).done().stdout;
    let of = |line: &str| serde_json::from_str::<Value>(line).unwrap()["probabilities"].clone();
    lines.lines().map(of).collect()
}

/// The config.json `name` with these keys; null takes one away.
fn set(folder: &Folder, name: &str, keys: &[(&str, Value)]) {
    let mut config = folder.json(name);
    for (key, value) in keys {
        match value {
            Value::Null => drop(config.as_object_mut().unwrap().remove(*key)),
            value => config[*key] = value.clone(),
        }
    }
    folder.write(name, config.to_string());
}

#[test]
fn a_llama_that_reads_in_both_directions_is_exported_as_eurobert_and_answers_the_same() {
    let folder = Folder::pretrained();
    folder.run(&format!("{LINE} --set classifier.pooling=mean")).done();
    folder.run("export finetuned --to exported").done();
    let keys = folder.json("exported/config.json");
    assert_eq!(keys["model_type"], "eurobert");
    assert_eq!(keys["architectures"], json!(["EuroBertForSequenceClassification"]));
    assert_eq!((&keys["classifier_pooling"], &keys["hidden_act"]), (&json!("mean"), &json!("silu")));
    let results = folder.json("finetuned/results.json");
    assert_eq!(keys["classifier_threshold"], results["test"]["threshold"]);
    assert_eq!(keys["classifier_temperature"], results["calibration"]["temperature"]);
    let inputs = &folder.json("exported/tokenizer_config.json")["model_input_names"];
    assert_eq!(inputs, &json!(["input_ids", "attention_mask"]));
    assert!(folder.text("exported/README.md").contains("pipeline("));
    let tensors = tensor_file::read(&folder.path("exported/model.safetensors")).unwrap();
    let dims = ["dense.weight", "dense.bias", "classifier.weight", "classifier.bias"]
        .map(|name| tensors[name].dims().to_vec());
    assert_eq!(dims, [vec![16, 16], vec![16], vec![2, 16], vec![2]]);
    let ask = |model: &str| folder.run(&format!("predict {model} prize cat")).done().stdout;
    assert_eq!(ask("exported"), ask("finetuned"), "the threshold goes along");
    let expected = answers(&folder, "finetuned");
    assert_eq!(answers(&folder, "exported"), expected);
    // As transformers means it where nothing is said, and by its other ways.
    for pooling in [Value::Null, json!("late"), json!("bos")] {
        set(&folder, "exported/config.json", &[("classifier_pooling", pooling)]);
        folder.run("predict exported prize").fails(65, &["classifier_pooling", "mean"]);
    }
    set(
        &folder,
        "exported/config.json",
        &[("clf_pooling", json!("mean")), ("classifier_pooling", Value::Null)],
    );
    assert_eq!(answers(&folder, "exported"), expected, "the key's former name");
    // The start of another classifier takes over the encoder alone.
    folder.replace("bare", "exported");
    let encoder = tensors.into_iter().filter(|(name, _)| name.starts_with("model.")).collect();
    tensor_file::write(&folder.path("bare/model.safetensors"), &encoder).unwrap();
    for start in ["exported", "bare"] {
        let line = format!("finetune --config finetune.toml --init-from {start} --set output_dir=of_{start}");
        folder.run(&format!("{line} --set classifier.pooling=mean")).done();
    }
    assert_eq!(answers(&folder, "of_exported"), answers(&folder, "of_bare"));
}

#[test]
fn no_folder_that_is_read_in_both_directions_says_that_it_is_causal() {
    for (model, folder, name) in
        [("llama", Folder::pretrained(), "eurobert"), ("gpt2", Folder::of_model(GPT2), "gpt2_bidirectional")]
    {
        if model == "gpt2" {
            folder.run("pretrain --config pretrain.toml").done();
        }
        let written = folder.run("generate pretrained --prompt cat --temperature 0").done().stdout;
        let bits = folder.run("evaluate pretrained --data corpus.txt --json").done().stdout;
        // The last token of one layer sees the whole text anyway.
        let more = "--set classifier.pooling=concat --set lora.r=2";
        folder.run(&format!("{LINE} {more}")).done();
        let keys = folder.json("finetuned/model/config.json");
        assert_eq!((&keys["model_type"], &keys["is_causal"]), (&json!(name), &json!(false)));
        assert!(!folder.path("finetuned/adapter").exists(), "its base is causal");
        assert_eq!(answers(&folder, "finetuned/model"), answers(&folder, "finetuned"));
        folder.run(&format!("finetune --config finetune.toml --set output_dir=causal {more}")).done();
        assert_eq!(folder.json("causal/model/config.json")["model_type"], model);
        assert_ne!(answers(&folder, "causal"), answers(&folder, "finetuned"));
        folder
            .run("export finetuned --to other")
            .fails(65, &["its classifier reads", "fine-tune with classifier."]);
        for line in ["generate finetuned --prompt cat", "evaluate finetuned/model --data corpus.txt"] {
            assert_eq!(folder.run(line).code, Some(65), "{line}");
        }
        folder.run("export finetuned --to x.gguf").fails(65, &["classifier", "GGUF"]);
        let causal = "finetune --config finetune.toml --init-from finetuned --set output_dir=again";
        let asked = format!("{causal} --set classifier.attention=causal");
        folder.run(&asked).fails(2, &["classifier.attention = \"causal\"", "encoder"]);
        folder.run(causal).done();
        assert_eq!(folder.json("again/model/config.json")["model_type"], name);
        assert_eq!(folder.run("generate pretrained --prompt cat --temperature 0").done().stdout, written);
        assert_eq!(folder.run("evaluate pretrained --data corpus.txt --json").done().stdout, bits);
        // The way in which transformers says it of a causal family.
        set(&folder, "pretrained/model/config.json", &[("is_causal", json!(false))]);
        folder
            .run("generate pretrained/model --prompt cat")
            .fails(65, &["is_causal = false is not supported"]);
    }
}

/// Makes the pre-trained Llama a EuroBERT as published: other keys, and the head that guesses hidden words.
fn eurobert_from_pretrained() -> Folder {
    let folder = Folder::pretrained();
    folder.replace("encoder", "pretrained/model");
    let published = [
        ("model_type", json!("eurobert")),
        ("architectures", json!(["EuroBertForMaskedLM"])),
        ("auto_map", json!({"AutoModel": "modeling_eurobert.EuroBertModel"})),
        ("clf_pooling", json!("late")),
        ("hidden_dropout", json!(0.0)),
        ("bos_token", json!("<|begin_of_text|>")),
        ("eos_token", json!("<|end_of_text|>")),
        ("pad_token", json!("<|end_of_text|>")),
        ("mask_token", json!("<|mask|>")),
        ("mask_token_id", json!(2)),
        ("pretraining_tp", json!(1)),
        ("rope_scaling", json!(null)),
        ("is_decoder", json!(false)),
        ("tie_word_embeddings", json!(false)),
    ];
    set(&folder, "encoder/config.json", &published);
    let path = folder.path("encoder/model.safetensors");
    let mut tensors = tensor_file::read(&path).unwrap();
    let guesses = (&tensors["model.embed_tokens.weight"] * 2.0).unwrap();
    tensors.insert("lm_head.weight".into(), guesses);
    tensor_file::write(&path, &tensors).unwrap();
    folder
}

#[test]
fn a_published_eurobert_is_an_encoder_and_what_is_not_built_of_it_is_refused_by_key() {
    let folder = eurobert_from_pretrained();
    let tail = "--set classifier.pooling=mean";
    folder.run(&format!("{LINE} {tail}")).done();
    let line =
        format!("finetune --config finetune.toml --init-from encoder {tail} --set output_dir=of_encoder");
    folder.run(&line).done();
    assert_eq!(
        answers(&folder, "of_encoder"),
        answers(&folder, "finetuned"),
        "the same encoder, read the same"
    );
    folder.run("generate encoder --prompt cat").fails(65, &["encoder", "fine-tune"]);
    let scaled = json!({"rope_type": "linear", "factor": 2.0});
    for (key, value) in [
        ("attention_bias", json!(true)),
        ("mlp_bias", json!(true)),
        ("hidden_act", json!("gelu")),
        ("rope_scaling", scaled),
        ("sliding_window", json!(64)),
    ] {
        let before = folder.json("encoder/config.json");
        set(&folder, "encoder/config.json", &[(key, value)]);
        folder.run(&format!("{line} --overwrite")).fails(65, &[key, "not supported"]);
        folder.write("encoder/config.json", before.to_string());
    }
}

#[test]
fn a_model_that_read_forwards_so_far_is_trained_as_long_as_one_that_goes_on_so() {
    let folder = Folder::pretrained();
    let steps = |name: &str, attention: &str| {
        let open = "--set train.max_steps=0 --set train.micro_batch_size=40 --set classifier.pooling=mean";
        let line = format!("finetune --config finetune.toml {open} --set output_dir={name} {attention}");
        folder.run(&line).done();
        folder.json(&format!("{name}/results.json"))["steps"].as_u64().unwrap()
    };
    let forwards = steps("forwards", "");
    assert!(forwards >= 250, "{forwards}");
    assert_eq!(steps("both", "--set classifier.attention=bidirectional"), forwards);
}

#[test]
fn what_needs_the_next_token_hidden_is_refused_in_both_directions() {
    let folder = Folder::new();
    let scratch = format!("{LINE} --init-from scratch");
    folder
        .run(&format!("{scratch} --set classifier.language_model_weight=0.5"))
        .fails(2, &["classifier.language_model_weight", "classifier.attention"]);
    folder
        .run(&format!("{scratch} --set classifier.pooling=first"))
        .fails(2, &["classifier.pooling = \"first\"", "pooler", "mean"]);
    folder
        .run("pretrain --config pretrain.toml --set model={model_type=\"eurobert\"}")
        .fails(2, &["model_type", "llama"]);
}

#[test]
fn both_arms_of_a_comparison_read_in_both_directions() {
    let folder = Folder::new();
    let line = "compare --config compare.toml --set seeds=[1] --set budgets=[20]";
    folder.run(&format!("{line} --set finetune.classifier.attention=bidirectional")).done();
    assert_eq!(folder.json("compared/pretrain/model/config.json")["model_type"], "llama");
    for arm in ["pretrained", "scratch"] {
        let keys = folder.json(&format!("compared/{arm}-20-seed1/model/config.json"));
        assert_eq!(keys["model_type"], "eurobert", "{arm}");
    }
}
