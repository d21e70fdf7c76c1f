//! Files named tokenizer.json that ask for a panic, for all memory, or for all time.

use serde_json::{Value, json};
use train::ErrorKind;
use train::tokenizer::Tokenizer;

use super::formats;
use crate::support::{Folder, Outcome};

/// A sound tokenizer.json.
fn sound() -> Value {
    serde_json::from_slice(&(formats::named("tokenizer").valid)()[0]).unwrap()
}

/// The sound one with another part.
fn with(part: &str, value: Value) -> Value {
    let mut changed = sound();
    changed[part] = value;
    changed
}

fn normalizers(steps: impl IntoIterator<Item = Value>) -> Value {
    with("normalizer", json!({"type": "Sequence", "normalizers": steps.into_iter().collect::<Vec<_>>()}))
}

fn replace(kind: &str, pattern: &str, content: &str) -> Value {
    json!({"type": "Replace", "pattern": {kind: pattern}, "content": content})
}

fn template(single: Value, special: Value) -> Value {
    let pair = json!([{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}]);
    with(
        "post_processor",
        json!({"type": "TemplateProcessing", "single": single, "pair": pair,
        "special_tokens": special}),
    )
}

/// The same with one more entry of its vocabulary.
fn with_id(id: u64) -> Value {
    let mut changed = sound();
    changed["model"]["vocab"]["a token from elsewhere"] = id.into();
    changed
}

fn precompiled(charsmap: &str) -> Value {
    normalizers([json!({"type": "Precompiled", "precompiled_charsmap": charsmap})])
}

/// What each one is, the file, and a part of what is said about it.
fn hostile() -> Vec<(&'static str, Value, &'static str)> {
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let mark = json!({"SpecialToken": {"id": "x", "type_id": 0}});
    let token = |ids: Vec<u32>| json!({"x": {"id": "x", "ids": ids, "tokens": vec!["x"; ids.len()]}});
    let doubled =
        |_| json!({"type": "TemplateProcessing", "single": [text, text], "pair": [], "special_tokens": {}});
    let processors: Vec<Value> = (0..30).map(doubled).collect();
    let bytes =
        json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": false});
    let wordpiece = json!({"type": "WordPiece", "unk_token": "<|endoftext|>", "continuing_subword_prefix": "##",
        "max_input_chars_per_word": u64::MAX, "vocab": {"<|endoftext|>": 0}});
    vec![
        ("an empty pattern", normalizers([replace("String", "", "ab")]), "empty pattern"),
        ("an empty expression", normalizers([replace("Regex", "", "ab")]), ""),
        ("matches of nothing", normalizers([replace("Regex", "x*", "abcdefghijklmnopq")]), ""),
        ("doubled 30 times", normalizers((0..30).map(|_| replace("String", "a", "aa"))), "the most are 16"),
        ("doubled 5 times", normalizers((0..5).map(|_| replace("Regex", ".", "aa"))), "one character 64"),
        ("a long insertion", normalizers([replace("Regex", ".", &"x".repeat(100_000))]), "100000 characters"),
        (
            "a long prefix",
            normalizers([json!({"type": "Prepend", "prepend": "x".repeat(100_000)})]),
            "100000",
        ),
        ("many steps", normalizers((0..100_000).map(|_| json!({"type": "NFC"}))), "steps, the most are 64"),
        ("a large repetition", normalizers([replace("Regex", "(\\p{L}{900}){900}", "a")]), "810000 times"),
        ("a long expression", normalizers([replace("Regex", &"(?=a)".repeat(2000), "a")]), "10000 bytes"),
        ("a short table", precompiled("////f2FhYWE="), "precompiled_charsmap is damaged"),
        ("half a table", precompiled("AAA="), "precompiled_charsmap is damaged"),
        ("pieces of nothing", with("pre_tokenizer", json!({"type": "FixedLength", "length": 0})), "length 0"),
        (
            "bytes of bytes",
            with("pre_tokenizer", json!({"type": "Sequence", "pretokenizers": vec![bytes; 30]})),
            "the most are 16",
        ),
        (
            "a decoder that doubles",
            with("decoder", json!({"type": "Sequence", "decoders": vec![replace("String", "a", "aa"); 30]})),
            "the most are 16",
        ),
        ("a token that is not there", template(json!([text, mark]), json!({})), ""),
        ("an id that is not there", template(json!([text, mark]), token(vec![65541])), "id 65541"),
        ("a long ending", template(json!([text, mark]), token(vec![1; 100_000])), "100001 tokens"),
        (
            "texts repeated",
            with("post_processor", json!({"type": "Sequence", "processors": processors})),
            "16",
        ),
        ("a large id", with_id(50_000_000), "has id 50000000, ids must lie below 1048576"),
        ("the largest id", with_id(u64::from(u32::MAX)), ""),
        ("long words", with("model", wordpiece), "max_input_chars_per_word"),
    ]
}

#[test]
fn hostile_tokenizers_are_refused_when_they_are_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let mut wrong = Vec::new();
    for (what, file, part) in hostile() {
        std::fs::write(&path, file.to_string()).unwrap();
        let start = std::time::Instant::now();
        let Err(error) = Tokenizer::load(&path) else {
            wrong.push(format!("{what} was taken"));
            continue;
        };
        let text = error.to_string();
        let told = text.contains("tokenizer.json is not a usable tokenizer: ") && text.contains(part);
        let quick = text.len() < 600 && start.elapsed().as_secs() < 10;
        if error.kind != ErrorKind::BadData || !told || !quick {
            wrong.push(format!("{what} in {:?}: {text}", start.elapsed()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_command_refuses_a_hostile_tokenizer_in_one_line() {
    let folder = Folder::pretrained();
    let good = folder.bytes("pretrained/model/tokenizer.json");
    for value in [
        template(json!([{"SpecialToken": {"id": "x", "type_id": 0}}]), json!({})),
        with_id(u64::from(u32::MAX)),
        precompiled("////f2FhYWE="),
    ] {
        folder.write("pretrained/model/tokenizer.json", value.to_string());
        for line in [
            "tokenizer inspect pretrained/model/tokenizer.json --text home",
            "generate pretrained/model --prompt cat",
            "finetune --config finetune.toml --init-from pretrained/model --overwrite",
            "pretrain --config pretrain.toml --set output_dir=other --set tokenizer.path=pretrained/model/tokenizer.json",
        ] {
            let mut command = folder.train(&line.split_whitespace().collect::<Vec<_>>());
            // It would ask for the trace of each panic.
            let outcome = Outcome::of(line, command.env_remove("RUST_BACKTRACE").output().unwrap())
                .fails(65, &["tokenizer.json is not a usable tokenizer"]);
            assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
        }
    }
    folder.write("pretrained/model/tokenizer.json", good);
    folder.run("generate pretrained --prompt cat --max-new-tokens 2").done();
}

#[test]
fn what_public_models_do_to_text_is_allowed() {
    let steps = [
        json!({"type": "NFKC"}),
        json!({"type": "Prepend", "prepend": "▁"}),
        replace("String", " ", "▁"),
        replace("Regex", "\\s+", " "),
        replace("String", "``", "\""),
        json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": true}),
    ];
    let split = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s+";
    let splitters = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": split}, "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
    ]});
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    for file in [normalizers(steps), with("pre_tokenizer", splitters)] {
        std::fs::write(&path, file.to_string()).unwrap();
        assert!(!Tokenizer::load(&path).unwrap().encode("the message").unwrap().is_empty());
    }
}
