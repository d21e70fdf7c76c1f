//! Encoders: BERT's mathematics against transformers' own, and folders of the family from start to export.

use std::collections::{BTreeMap, HashMap};

use candle_core::Device;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use train::internals::tensor_file;
use train::model::{
    BertConfig, Classifier, Dropout, Head, ModelConfig, Params, Pooling, TokenRows, parameter_specs,
};

use crate::golden_classifier::{Golden, assert_close, moved_by_last_token, numbers};
use crate::support::Folder;

fn golden() -> Golden {
    let config = ModelConfig::Bert(BertConfig {
        vocab_size: 61,
        hidden_size: 24,
        intermediate_size: 40,
        num_hidden_layers: 2,
        num_attention_heads: 3,
        max_position_embeddings: 16,
        layer_norm_eps: 2e-2,
        ..Default::default()
    });
    Golden::read("bert", config, Pooling::First)
}

fn logits(model: &Classifier, rows: &TokenRows) -> Vec<f64> {
    numbers(model.logits(rows, &mut Dropout::off()).unwrap().value())
}

#[test]
fn logits_loss_and_every_gradient_equal_those_of_transformers() {
    golden().assert_holds();
}

#[test]
fn other_texts_in_the_batch_do_not_change_an_encoders_logits() {
    let golden = golden();
    for pooling in [Pooling::First, Pooling::Last, Pooling::Mean, Pooling::Concat] {
        let specs = parameter_specs(&golden.config, Head::Classifier { num_labels: 3, pooling });
        let mut weights = Params::init(&specs, 1, &Device::Cpu).unwrap().detached();
        weights.extend(golden.weights.clone());
        let model = Classifier::new(&golden.config, &weights, pooling).unwrap();
        let together = logits(&model, &golden.rows(&[0, 1, 2]));
        let alone: Vec<f64> = (0..3).flat_map(|row| logits(&model, &golden.rows(&[row]))).collect();
        assert_close(&format!("{pooling:?}"), &alone, &together);
    }
}

#[test]
fn every_token_of_an_encoder_sees_the_last_one() {
    let golden = golden();
    let model = Classifier::new(&golden.config, &golden.weights, Pooling::First).unwrap();
    assert!(moved_by_last_token(&model) > 1e-3);
}

/// A WordPiece tokenizer as BERT's: words and letters of the test messages, lower case.
fn word_piece() -> String {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let mut tokens: Vec<String> = special.map(str::to_string).to_vec();
    tokens.extend(["the", "cat", "you", "won", "prize", "free"].map(str::to_string));
    tokens
        .extend(('a'..='z').chain('0'..='9').flat_map(|letter| [letter.to_string(), format!("##{letter}")]));
    let vocabulary: BTreeMap<&String, usize> = tokens.iter().zip(0..).collect();
    let added: Vec<Value> = special
        .iter()
        .enumerate()
        .map(|(id, content)| {
            json!({
                "id": id, "content": content, "special": true, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false,
            })
        })
        .collect();
    let mark = |token: &str| json!({"SpecialToken": {"id": token, "type_id": 0}});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": [mark("[CLS]"), text, mark("[SEP]")],
            "pair": [mark("[CLS]"), text, mark("[SEP]")],
            "special_tokens": {
                "[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary},
    })
    .to_string()
}

/// A folder `encoder` as transformers writes one of a BERT without a head, its tensors renamed by `name`; empty names
/// are left out.
fn folder_with_encoder(name: impl Fn(&str) -> String) -> Folder {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("encoder")).unwrap();
    let keys = json!({
        "architectures": ["BertModel"], "model_type": "bert", "vocab_size": 83, "hidden_size": 16,
        "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 32,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1, "position_embedding_type": "absolute", "gradient_checkpointing": false,
        "pad_token_id": 0, "use_cache": true, "initializer_range": 0.02,
    });
    folder.write("encoder/config.json", keys.to_string());
    folder.write("encoder/tokenizer.json", word_piece());
    let config: ModelConfig = serde_json::from_value(json!({
        "model_type": "bert", "vocab_size": 83, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 32, "initializer_range": 0.2,
    }))
    .unwrap();
    let params = Params::init(&parameter_specs(&config, Head::LanguageModel), 5, &Device::Cpu).unwrap();
    let mut stored: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (own, tensor) in params.detached() {
        let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        stored.push((
            name(&own),
            tensor.dims().to_vec(),
            values.into_iter().flat_map(f32::to_le_bytes).collect(),
        ));
    }
    stored.push(("cls.predictions.bias".into(), vec![1], vec![0; 4]));
    stored.push(("bert.embeddings.position_ids".into(), vec![1], vec![0; 4]));
    let views = stored.iter().filter(|(name, ..)| !name.is_empty()).map(|(name, shape, bytes)| {
        (name, TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap())
    });
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    folder.write("encoder/model.safetensors", safetensors::serialize(views, Some(metadata)).unwrap());
    folder
}

const LINE: &str = "finetune --config finetune.toml --init-from encoder";

fn probabilities(folder: &Folder, model: &str) -> Vec<Value> {
    folder.write("texts.txt", "You won a PRIZE\nthe cat sat\n\u{e9}t\u{e9} \u{4f60}\u{597d}\n");
    let lines = folder.run(&format!("predict {model} --input texts.txt --json")).done().stdout;
    let of = |line: &str| serde_json::from_str::<Value>(line).unwrap()["probabilities"].clone();
    lines.lines().map(of).collect()
}

#[test]
fn an_encoder_is_fine_tuned_exported_and_labels_the_same() {
    let folder = folder_with_encoder(str::to_string);
    folder.run(&format!("{LINE} --set classifier.pooling=first")).done();
    folder.run("export finetuned --to exported").done();
    let ask = |model: &str| folder.run(&format!("predict {model} prize cat")).done().stdout;
    assert_eq!(ask("exported"), ask("finetuned"), "the threshold goes along");
    assert_eq!(probabilities(&folder, "exported"), probabilities(&folder, "finetuned"));
    let keys = folder.json("exported/config.json");
    let results = folder.json("finetuned/results.json");
    assert_eq!(keys["classifier_threshold"], results["test"]["threshold"]);
    assert_eq!(keys["classifier_temperature"], results["calibration"]["temperature"]);
    assert_eq!(keys["classifier_positive_id"], 1);
    assert_eq!(keys["architectures"], json!(["BertForSequenceClassification"]));
    assert_eq!(keys["hidden_act"], "gelu");
    let tokens = folder.json("exported/tokenizer_config.json");
    assert_eq!((&tokens["cls_token"], &tokens["unk_token"]), (&json!("[CLS]"), &json!("[UNK]")));
    assert_eq!(folder.bytes("exported/tokenizer.json"), folder.bytes("encoder/tokenizer.json"));
    let tensors = tensor_file::read(&folder.path("exported/model.safetensors")).unwrap();
    assert_eq!(tensors["classifier.weight"].dims(), [2, 16]);
    assert!(tensors.contains_key("bert.pooler.dense.weight") && !tensors.contains_key("score.weight"));
    // As transformers writes it, without a key for the pooling.
    let mut keys = folder.json("exported/config.json");
    keys.as_object_mut().unwrap().remove("classifier_pooling");
    folder.write("exported/config.json", keys.to_string());
    assert_eq!(probabilities(&folder, "exported"), probabilities(&folder, "finetuned"));
    // A classifier may be the start of another; its head is drawn anew.
    folder.run("finetune --config finetune.toml --init-from exported --set output_dir=again").done();
}

#[test]
fn names_of_other_writers_mean_the_same_encoder() {
    let plain = folder_with_encoder(str::to_string);
    plain.run(LINE).done();
    let expected = probabilities(&plain, "finetuned");
    let old = |name: &str| match name.strip_suffix("LayerNorm.weight") {
        Some(module) => format!("{module}LayerNorm.gamma"),
        None => name.replace("LayerNorm.bias", "LayerNorm.beta"),
    };
    let without_prefix = |name: &str| name.replacen("bert.", "", 1);
    let without_pooler = |name: &str| if name.contains("pooler") { String::new() } else { name.to_string() };
    for folder in
        [folder_with_encoder(old), folder_with_encoder(without_prefix), folder_with_encoder(without_pooler)]
    {
        folder.run(LINE).done();
        assert_eq!(probabilities(&folder, "finetuned"), expected);
    }
}

#[test]
fn an_encoder_is_adapted_by_low_rank_updates() {
    let folder = folder_with_encoder(str::to_string);
    folder
        .run(&format!("{LINE} --set classifier.pooling=first --set lora.r=2 --set output_dir=adapted"))
        .done();
    let keys = folder.json("adapted/adapter/adapter_config.json");
    assert_eq!(keys["target_modules"], json!(["query", "value"]));
    assert_eq!(keys["modules_to_save"], json!(["classifier", "pooler"]));
    let adapter = tensor_file::read(&folder.path("adapted/adapter/adapter_model.safetensors")).unwrap();
    let updates = adapter.keys().filter(|name| name.contains("lora_")).count();
    assert_eq!((updates, adapter.len()), (2 * 2 * 2, 2 * 2 * 2 + 4));
    assert!(adapter.contains_key("base_model.model.bert.pooler.dense.bias"));
}

#[test]
fn an_encoder_is_refused_where_text_is_to_be_written() {
    let folder = folder_with_encoder(str::to_string);
    folder.run("generate encoder --prompt cat").fails(65, &["encoder", "fine-tune"]);
    folder.run("evaluate encoder --data corpus.txt").fails(65, &["encoder", "fine-tune"]);
    folder.run("export encoder --to model.gguf").fails(65, &["encoder", "GGUF"]);
    let line = "pretrain --config pretrain.toml --set";
    folder.run(&format!("{line} model={{model_type=\"bert\"}}")).fails(2, &["model_type", "llama"]);
    folder
        .run(&format!("{LINE} --set classifier.language_model_weight=0.5"))
        .fails(2, &["language_model_weight"]);
    folder
        .run(&format!("{LINE} --set classifier.attention=causal"))
        .fails(2, &["classifier.attention", "encoder"]);
}

#[test]
fn the_first_token_of_a_causal_model_is_no_pooling() {
    let folder = Folder::new();
    let line = "finetune --config finetune.toml --init-from scratch --set classifier.pooling=first";
    folder.run(line).fails(2, &["classifier.pooling", "sees nothing", "last"]);
}

#[test]
fn an_encoder_that_averages_its_tokens_is_not_exported() {
    let folder = folder_with_encoder(str::to_string);
    folder.run(&format!("{LINE} --set classifier.pooling=mean")).done();
    folder
        .run("export finetuned --to exported")
        .fails(65, &["reads by \"mean\"", "classifier.pooling = \"first\""]);
}

#[test]
fn half_a_pooler_and_a_tokenizer_without_a_first_token_are_refused() {
    let half =
        |name: &str| if name.ends_with("pooler.dense.bias") { String::new() } else { name.to_string() };
    let line = format!("{LINE} --set classifier.pooling=first");
    folder_with_encoder(half).run(&line).fails(65, &["pooler.dense.bias"]);
    let folder = folder_with_encoder(str::to_string);
    let mut tokenizer = folder.json("encoder/tokenizer.json");
    tokenizer["post_processor"] = Value::Null;
    folder.write("encoder/tokenizer.json", tokenizer.to_string());
    folder.run(&line).fails(65, &["does not put [CLS] before a text", "post_processor"]);
}
