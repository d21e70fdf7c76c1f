//! Every format that is read from files of others: a valid file, and what is promised of any other bytes.
//!
//! Each reader takes any bytes without a panic. It refuses them in one short line of the right kind, or what it read
//! is what it would read again from what it would write. The fuzz targets run the same readers.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::small_gguf::SmallGguf;
use serde_json::json;
use train::config::{self, Source};
use train::data::{LabelledConfig, TokenFile, TokenKey, TokenWriter, read_labelled, read_texts};
use train::internals::checkpoint::Checkpoint;
use train::internals::{hf_folder, hub, tensor_file};
use train::model::ModelConfig;
use train::tokenizer::{Tokenizer, TokenizerConfig};
use train::{CompareConfig, Error, ErrorKind, FinetuneConfig, PretrainConfig};

#[path = "small_gguf.rs"]
pub mod small_gguf;

/// A format.
pub struct Format {
    pub name: &'static str,
    /// Valid files, from which hostile ones are made.
    pub valid: fn() -> Vec<Vec<u8>>,
    /// Panics where what is promised is not kept.
    pub read: fn(&[u8]),
}

pub const ALL: &[Format] = &[
    Format { name: "tokenizer", valid: valid_tokenizers, read: tokenizer },
    Format { name: "config_json", valid: valid_configs, read: config_json },
    Format { name: "safetensors", valid: valid_tensors, read: safetensors },
    Format { name: "gguf", valid: valid_ggufs, read: gguf },
    Format { name: "parquet", valid: valid_parquet, read: |bytes| rows("x.parquet", bytes) },
    Format { name: "csv", valid: valid_csv, read: |bytes| rows("x.csv", bytes) },
    Format { name: "tsv", valid: valid_tsv, read: |bytes| rows("x.tsv", bytes) },
    Format { name: "jsonl", valid: valid_jsonl, read: |bytes| rows("x.jsonl", bytes) },
    Format { name: "config_toml", valid: valid_toml, read: config_toml },
    Format { name: "token_file", valid: valid_token_files, read: token_file },
    Format { name: "checkpoint", valid: valid_checkpoints, read: checkpoint },
    Format { name: "hub_name", valid: valid_hub_names, read: hub_name },
];

/// The format of this name.
pub fn named(name: &str) -> &'static Format {
    ALL.iter().find(|format| format.name == name).unwrap_or_else(|| panic!("no format {name}"))
}

thread_local! {
    static FOLDER: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
}

/// A file of this thread with these bytes.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = FOLDER.with(|folder| folder.get_or_init(|| tempfile::tempdir().unwrap()).path().join(name));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Asserts that an error is of this kind, on one line, and short.
fn refused(error: &Error, kind: ErrorKind) {
    let text = error.to_string();
    assert_eq!(error.kind, kind, "{text}");
    assert!(!text.contains('\n'), "more than one line: {text}");
    assert!(text.len() < 3000, "an error of {} bytes: {text}", text.len());
}

fn tokenizer(bytes: &[u8]) {
    let path = file("tokenizer.json", bytes);
    let read = match Tokenizer::load(&path) {
        Ok(read) => read,
        Err(error) => return refused(&error, ErrorKind::BadData),
    };
    assert_eq!(read.json(), bytes);
    assert!(read.vocab_size() <= 1 << 20);
    assert_eq!(read.token_bytes().len(), read.vocab_size());
    for text in ["", "the cat walked to 12 rivers", "  日本語 ñ\r\n\u{1f600}"] {
        match read.encode(text) {
            Ok(ids) => {
                assert!(ids.iter().all(|id| (*id as usize) < read.vocab_size()), "{ids:?}");
                if let Err(error) = read.decode(&ids) {
                    refused(&error, ErrorKind::BadData);
                }
            }
            Err(error) => refused(&error, ErrorKind::BadData),
        }
    }
}

fn valid_tokenizers() -> Vec<Vec<u8>> {
    let documents = (0..40).map(|i| format!("the {i}th message went home, don't call it now: £{i}!"));
    let config = TokenizerConfig { vocab_size: 270, ..Default::default() };
    let trained = Tokenizer::train(documents, &config).unwrap().json().to_vec();
    let token = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    };
    let around = |model: serde_json::Value, normalizer: serde_json::Value, splitter: serde_json::Value| {
        let whole = json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": [token(0, "<unk>"), token(1, "</s>")],
            "normalizer": normalizer, "pre_tokenizer": splitter,
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}},
            },
            "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
            "model": model,
        });
        whole.to_string().into_bytes()
    };
    let pieces =
        json!([["<unk>", 0.0], ["</s>", 0.0], ["▁", -2.0], ["the", -3.5], ["cat", -4.0], ["a", -2.5]]);
    let unigram = json!({"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": false});
    let words = json!({"<unk>": 0, "</s>": 1, "the": 2, "cat": 3, "##s": 4});
    let wordpiece = json!({"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100, "vocab": words});
    // A table without entries: four bytes of length, four of the index, no text.
    let chain = json!({"type": "Sequence", "normalizers": [
        {"type": "Precompiled", "precompiled_charsmap": "BAAAAAAAAAA="}, {"type": "NFKC"},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}, {"type": "Lowercase"},
        {"type": "Prepend", "prepend": "▁"}, {"type": "Strip", "strip_left": true, "strip_right": true},
    ]});
    let splitters = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "\\p{N}{1,3}"}, "behavior": "Isolated", "invert": false},
        {"type": "Digits", "individual_digits": true}, {"type": "FixedLength", "length": 5},
        {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
    ]});
    let bert = json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
        "strip_accents": null, "lowercase": true});
    vec![
        trained,
        around(unigram, chain, splitters),
        around(wordpiece, bert, json!({"type": "BertPreTokenizer"})),
    ]
}

fn config_json(bytes: &[u8]) {
    let path = file("model/config.json", bytes);
    let read = match hf_folder::read_config(path.parent().unwrap()) {
        Ok(read) => read,
        Err(error) => return refused(&error, ErrorKind::BadData),
    };
    read.config.check().unwrap();
    let written = config::to_toml(&read.config).unwrap();
    assert_eq!(toml::from_str::<ModelConfig>(&written).unwrap(), read.config);
}

fn valid_configs() -> Vec<Vec<u8>> {
    let llama = json!({
        "architectures": ["LlamaForSequenceClassification"], "model_type": "llama", "vocab_size": 300,
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 32, "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "tie_word_embeddings": true, "initializer_range": 0.02, "hidden_act": "silu",
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}, "torch_dtype": "float32",
        "id2label": {"0": "ham", "1": "spam"}, "classifier_pooling": "last", "attention_bias": false,
    });
    let gpt2 = json!({
        "model_type": "gpt2", "vocab_size": 300, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32,
        "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new", "n_inner": null,
    });
    vec![llama.to_string().into_bytes(), gpt2.to_string().into_bytes()]
}

fn safetensors(bytes: &[u8]) {
    let path = file("x.safetensors", bytes);
    let read = match tensor_file::read(&path) {
        Ok(read) => read,
        Err(error) => return refused(&error, ErrorKind::BadData),
    };
    let copy = path.with_file_name("copy.safetensors");
    tensor_file::write(&copy, &read).unwrap();
    let again = tensor_file::read(&copy).unwrap();
    assert!(read.keys().eq(again.keys()));
    for (name, tensor) in &read {
        let values = |tensor: &candle_core::Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(tensor.dims(), again[name].dims());
        assert_eq!(values(tensor), values(&again[name]), "{name}");
    }
    if let Err(error) = tensor_file::check_shapes(&path, &read, &BTreeMap::new()) {
        refused(&error, ErrorKind::BadData);
    }
}

fn valid_tensors() -> Vec<Vec<u8>> {
    let tensor = |name: &str, dtype: &str, shape: &[usize], at: [usize; 2]| {
        (name.to_string(), json!({"dtype": dtype, "shape": shape, "data_offsets": at}))
    };
    let mut header: serde_json::Map<_, _> = [
        tensor("model.norm.weight", "F32", &[2, 2], [0, 16]),
        tensor("half", "BF16", &[3], [16, 22]),
        tensor("empty", "F16", &[0, 4], [22, 22]),
    ]
    .into_iter()
    .collect();
    header.insert("__metadata__".into(), json!({"format": "pt"}));
    let header = serde_json::to_vec(&header).unwrap();
    let values = [1.0_f32, -2.5, 3e-40, 7e30].map(f32::to_le_bytes).concat();
    let halves = [0x80, 0x3f, 0x00, 0xc0, 0x01, 0x00];
    vec![[&(header.len() as u64).to_le_bytes()[..], &header, &values, &halves].concat()]
}

fn gguf(bytes: &[u8]) {
    let path = file("x.gguf", bytes);
    let read = match hf_folder::load(&path) {
        Ok(read) => read,
        Err(error) => return refused(&error, ErrorKind::BadData),
    };
    read.config.check().unwrap();
    assert!(read.tokenizer.vocab_size() <= read.config.vocab_size());
    let copy = path.with_file_name("copy.gguf");
    if let Err(error) = hf_folder::write_gguf(&copy, "copy", &read, hf_folder::Quantization::F32) {
        return refused(&error, ErrorKind::BadData);
    }
    let again = hf_folder::load(&copy).unwrap();
    assert!(read.weights.keys().eq(again.weights.keys()));
    for (name, tensor) in &read.weights {
        let values = |tensor: &candle_core::Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(tensor.dims(), again.weights[name].dims());
        assert_eq!(values(tensor), values(&again.weights[name]), "{name}");
    }
}

fn valid_ggufs() -> Vec<Vec<u8>> {
    use candle_core::quantized::GgmlDType;
    let llama = SmallGguf::llama(32, GgmlDType::Q4_0);
    vec![llama.bytes(), SmallGguf::gpt2(32, GgmlDType::F16).bytes()]
}

/// Reads labelled rows, and texts alone; what was read is written as JSON Lines and read again.
fn rows(name: &str, bytes: &[u8]) {
    let (path, config) = (file(name, bytes), LabelledConfig::default());
    if let Err(error) = read_texts(&path, &config) {
        refused(&error, ErrorKind::BadData);
    }
    let read = match read_labelled(&path, &config, None) {
        Ok(read) => read,
        Err(error) => return refused(&error, ErrorKind::BadData),
    };
    let line = |row: &train::data::Example| {
        json!({"text": row.text, "label": read.label_names[row.label as usize]}).to_string() + "\n"
    };
    let copy = file("copy.jsonl", read.examples.iter().map(line).collect::<String>().as_bytes());
    let again = read_labelled(&copy, &config, None).unwrap();
    assert_eq!(again.label_names, read.label_names);
    assert_eq!(again.examples.len(), read.examples.len());
    for (found, expected) in again.examples.iter().zip(&read.examples) {
        assert_eq!((&found.text, found.label), (&expected.text, expected.label));
    }
}

fn valid_csv() -> Vec<Vec<u8>> {
    let quoted =
        "id,label,text\r\n1,ham,\"see you, at \"\"eight\"\"\"\r\n2,spam,\"two\nlines\"\r\n3,1.0,ünï £5\r\n";
    vec![quoted.into(), "text,label\na,0\nb,1\n\n".into()]
}

fn valid_tsv() -> Vec<Vec<u8>> {
    vec!["ham\tsee you at eight\nspam\twin a prize\tnow\n\n1\tünï £5\r\n".into()]
}

fn valid_jsonl() -> Vec<Vec<u8>> {
    let rows = [
        r#"{"label": "ham", "text": "see \"you\" \ud83d\ude00", "more": [1, {"a": null}]}"#,
        r#"{"text": "win", "label": 1}"#,
        r#"{"text": "ünï", "label": true}"#,
    ];
    vec![rows.join("\n").into(), r#"{"label": 0.5, "text": "a\u0000b"}"#.into()]
}

/// Two columns of strings in one group, uncompressed.
fn valid_parquet() -> Vec<Vec<u8>> {
    use parquet::data_type::{ByteArray, ByteArrayType};
    use parquet::file::writer::SerializedFileWriter;
    let schema = "message schema { required binary text (UTF8); required binary label (UTF8); }";
    let schema = parquet::schema::parser::parse_message_type(schema).unwrap();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema.into(), Default::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for values in [["see you", "win a prize", "ünï £5"], ["ham", "spam", "ham"]] {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&values.map(ByteArray::from), None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    vec![writer.into_inner().unwrap()]
}

fn config_toml(bytes: &[u8]) {
    fn check<C: config::Config + PartialEq + std::fmt::Debug>(text: &str) {
        match config::load::<C>(Source::Text("x.toml", text), &[], &[]) {
            Ok(read) => {
                let written = config::to_toml(&read).unwrap();
                let again = config::load::<C>(Source::Text("y.toml", &written), &[], &[]).unwrap();
                assert_eq!(again, read);
            }
            Err(error) => refused(&error, ErrorKind::Usage),
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    check::<PretrainConfig>(text);
    check::<FinetuneConfig>(text);
    check::<CompareConfig>(text);
}

fn valid_toml() -> Vec<Vec<u8>> {
    let pretrain = "output_dir = \"a\"\nseed = 3\n[data]\ntrain = [\"x.txt\", \"y*\"]\nvalidation_fraction = 0.2\n\
        [model]\nmodel_type = \"llama\"\nhidden_size = 16\nnum_attention_heads = 2\nnum_key_value_heads = 1\n\
        [train]\nmax_steps = 4\nmax_epochs = 0.0\n[optim]\nlearning_rate = 0.01 # peak\n";
    let finetune = "init_from = \"a\"\n[data]\ntrain = 'x.tsv'\nlabel_names = [\"ham\", \"spam\"]\n[train]\nseq_len = 24\n";
    let compare = "output_dir = \"c\"\nseeds = [1, 2]\nbudgets = [20, 0]\n[pretrain.data]\ntrain = [\"x\"]\n[finetune]\nseed = 1\n";
    [pretrain, finetune, compare].map(Vec::from).to_vec()
}

fn token_key() -> TokenKey {
    TokenKey { data_sha256: "d".repeat(64), tokenizer_sha256: "e".repeat(64) }
}

fn token_file(bytes: &[u8]) {
    let path = file("x.tokens", bytes);
    let read = match TokenFile::open(&path, &token_key(), usize::MAX) {
        Ok(read) => read,
        Err(error) => return refused(&error, ErrorKind::BadData),
    };
    assert!(read.counts.tokens <= bytes.len() as u64);
    assert_eq!(read.ids(0, bytes.len()).unwrap().len() as u64, read.counts.tokens);
    assert!(read.ids(read.counts.tokens, 1).unwrap().is_empty());
}

fn valid_token_files() -> Vec<Vec<u8>> {
    let written = |vocab_size: usize| {
        let path = file("valid.tokens", b"");
        let mut writer = TokenWriter::create(&path, vocab_size).unwrap();
        writer.push(&[5, 300, 1], 7).unwrap();
        writer.push(&[9, 1], 2).unwrap();
        writer.finish(&token_key()).unwrap();
        std::fs::read(path).unwrap()
    };
    vec![written(1000), written(1 << 17)]
}

/// The state of a checkpoint whose other files are sound.
fn checkpoint(bytes: &[u8]) {
    let folder = checkpoint_folder();
    std::fs::write(folder.join("state.json"), bytes).unwrap();
    match Checkpoint::load(&folder) {
        Ok(read) => {
            let other = folder.with_file_name("again");
            let _ = std::fs::remove_dir_all(&other);
            let saved = read.save(&other, 0).unwrap();
            let again = Checkpoint::load(&saved).unwrap();
            assert_eq!(again.counters, read.counters);
            assert_eq!(again.fingerprints, read.fingerprints);
        }
        Err(error) => refused(&error, ErrorKind::BadData),
    }
}

/// A folder of this thread with a sound checkpoint, made at the first call.
fn checkpoint_folder() -> PathBuf {
    let steps = file("checkpoints/made", b"").with_file_name("");
    let folder = steps.join("step_000004");
    if !folder.exists() {
        let tensors = tensor_file::read(&file("part.safetensors", &valid_tensors()[0])).unwrap();
        let mut state = Checkpoint {
            counters: Default::default(),
            fingerprints: serde_json::from_value(json!({"data": "d", "tokenizer": "e"})).unwrap(),
            model: tensors.clone(),
            optimizer: tensors.clone(),
            best: Some(tensors),
        };
        state.counters.step = 4;
        state.counters.history = vec![(1.5, 2.5)];
        assert_eq!(state.save(&steps, 0).unwrap(), folder);
        std::fs::copy(folder.join("state.json"), steps.join("state.json")).unwrap();
    }
    folder
}

fn valid_checkpoints() -> Vec<Vec<u8>> {
    vec![std::fs::read(checkpoint_folder().with_file_name("state.json")).unwrap()]
}

fn hub_name(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let name = match hub::Name::parse(text) {
        Ok(name) => name,
        Err(error) => return assert_eq!(error.kind, ErrorKind::Usage, "{error}"),
    };
    let parts = [Some(&name.id), name.path.as_ref(), Some(&name.revision)];
    for part in parts.into_iter().flatten() {
        let plain = Path::new(part).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        assert!(plain && !part.contains(['\\', ':', '%', '?', '#', '\0']), "{part:?}");
    }
    let datasets = if name.dataset { "datasets/" } else { "" };
    let path = name.path.map_or_else(String::new, |path| format!("/{path}"));
    let written = format!("hf://{datasets}{}{path}@{}", name.id, name.revision);
    assert!(written == text || written == format!("{text}@main"), "{written}");
}

fn valid_hub_names() -> Vec<Vec<u8>> {
    ["hf://owner/name", "hf://datasets/owner/name/data/train.csv@refs/convert/parquet"]
        .map(Vec::from)
        .to_vec()
}
