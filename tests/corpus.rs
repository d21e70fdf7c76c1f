//! Text to pre-train on: what becomes of files, and the cache of their tokens.

use std::path::PathBuf;

use serde_json::json;
use train::Progress;
use train::data::{CorpusConfig, DocumentBoundary, LanguageData, tokenize};
use train::tokenizer::TokenizerConfig;

use crate::support::Folder;

/// Four documents in a file of their own, the rest in another.
fn in_two_files() -> Folder {
    let folder = Folder::new();
    let corpus = folder.text("corpus.txt");
    let documents: Vec<&str> = corpus.split("\n\n").filter(|text| !text.is_empty()).collect();
    std::fs::create_dir(folder.path("texts")).unwrap();
    folder.write("texts/a.txt", documents[..4].join("\n\n"));
    folder.write("texts/b.txt", documents[4..].join("\n\n"));
    folder
}

const PRETRAIN: &str = "pretrain --config pretrain.toml --set data.train=[\"texts\"]";

#[test]
fn text_that_is_validated_on_is_left_out_of_training() {
    let folder = in_two_files();
    let line = format!("{PRETRAIN} --set data.validation=[\"texts/a.txt\"]");
    let first = folder.run(&line).done();
    let counts = "56 documents, ";
    assert!(first.stderr.contains(counts), "{}", first.stderr);
    let warning = "4 documents of data.train stand in data.validation too";
    assert!(first.stderr.contains(warning), "{}", first.stderr);
    let again = folder.run(&format!("{line} --set output_dir=again")).done();
    assert!(again.stderr.contains(warning), "also where the tokens come from the cache: {}", again.stderr);
    let all = format!("{PRETRAIN} --set data.validation=[\"texts\"] --set output_dir=none");
    folder.run(&all).fails(65, &["0 training and 60 validation documents"]);
}

#[test]
fn a_file_that_two_entries_name_is_read_once_and_a_repeated_entry_counts_each_time() {
    let folder = in_two_files();
    let run = |files: &str, name: &str| {
        let data = format!("--set data.train=[{files}] --set output_dir={name}");
        folder.run(&format!("pretrain --config pretrain.toml {data}")).done()
    };
    let overlapping = run("\"texts\",\"texts/../texts/a.txt\",\"texts/*.txt\"", "overlapping");
    assert!(overlapping.stderr.contains("3 files are named by two entries"), "{}", overlapping.stderr);
    run("\"texts\"", "once");
    let weights = |run: &str| folder.bytes(&format!("{run}/model/model.safetensors"));
    assert!(weights("overlapping") == weights("once"));
    let documents = |files: &str, name: &str| {
        let stderr = run(files, name).stderr;
        let line = stderr.lines().find(|line| line.starts_with("data: ")).unwrap();
        line.split(' ').nth(1).unwrap().parse::<u64>().unwrap()
    };
    let twice = documents("\"texts/b.txt\",\"texts/b.txt\"", "twice");
    assert_eq!(twice, 2 * documents("\"texts/b.txt\"", "b"));
}

/// Documents of a corpus, those of training and validation together.
fn documents(folder: &Folder, file: &str, document: DocumentBoundary) -> u64 {
    let data = CorpusConfig {
        train: vec![folder.path(file).display().to_string(), folder.path("corpus.txt").display().to_string()],
        validation_fraction: 0.4,
        document,
        cache_dir: folder.path("cache").display().to_string(),
        ..CorpusConfig::default()
    };
    let tokenizer = TokenizerConfig { vocab_size: 260, ..TokenizerConfig::default() };
    let corpus = tokenize(&data, &tokenizer, &Progress::silent()).unwrap();
    corpus.train.counts.documents + corpus.validation.counts.documents
}

#[test]
fn a_line_of_any_length_belongs_to_its_document() {
    let folder = Folder::new();
    for length in [(1 << 20) - 1, 1 << 20, (1 << 20) + 1, 2 << 20] {
        let line = "ab ".repeat(length / 3 + 1);
        folder.write("long.txt", format!("one\n\n{}\nthe same document\n\nthree\n", &line[..length]));
        assert_eq!(documents(&folder, "long.txt", DocumentBoundary::BlankLine), 63, "{length}");
    }
}

#[test]
fn a_document_above_four_mebibytes_is_cut_and_that_is_said() {
    let folder = Folder::new();
    folder.write("long.txt", "the same line again ".repeat(300_000));
    let run =
        folder.run("pretrain --config pretrain.toml --set data.train=[\"corpus.txt\",\"long.txt\"]").done();
    assert!(run.stderr.contains("1 times a document was cut"), "{}", run.stderr);
}

#[test]
fn bits_per_byte_are_of_the_bytes_of_the_text_for_every_tokenizer() {
    let folder = Folder::new();
    let letters = "abcdefghijklmnopqrstuvwxyz0123456789.".chars();
    let pieces = letters.flat_map(|c| [c.to_string(), format!("##{c}")]);
    let tokens = ["[PAD]", "[UNK]", "[SEP]"].into_iter().map(String::from).chain(pieces);
    let vocabulary: serde_json::Map<_, _> = tokens.zip(0..).map(|(token, id)| (token, json!(id))).collect();
    let special = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    let described = json!({
        "version": "1.0", "truncation": null, "padding": null, "post_processor": null, "normalizer": null,
        "added_tokens": [special(0, "[PAD]"), special(1, "[UNK]"), special(2, "[SEP]")],
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary},
    });
    folder.write("pieces.json", described.to_string());
    // Weights that hardly move: every token costs about the same.
    let line =
        "pretrain --config pretrain.toml --set tokenizer.path=pieces.json --set optim.learning_rate=1e-7";
    folder.run(&format!("{line} --set model.initializer_range=0.001")).done();
    let results = folder.json("pretrained/results.json");
    let (loss, bits) =
        (results["val_loss"].as_f64().unwrap(), results["val_bits_per_byte"].as_f64().unwrap());

    let data = CorpusConfig {
        train: vec![folder.path("corpus.txt").display().to_string()],
        validation_fraction: 0.2,
        cache_dir: folder.path("cache").display().to_string(),
        ..CorpusConfig::default()
    };
    let tokenizer = TokenizerConfig {
        path: folder.path("pieces.json").display().to_string(),
        ..TokenizerConfig::default()
    };
    let corpus = tokenize(&data, &tokenizer, &Progress::silent()).unwrap();
    let counts = corpus.validation.counts;
    // Every letter is a token; spaces are none, but they are text.
    let text_tokens = counts.tokens - counts.documents;
    let expected = loss * text_tokens as f64 / counts.text_bytes as f64 / std::f64::consts::LN_2;
    assert!((bits / expected - 1.0).abs() < 0.01, "{bits}, expected {expected}");
    assert!(text_tokens * 10 < counts.text_bytes * 9, "without spaces the figure would be another one");
    let data = LanguageData::new(corpus, 16, 1).unwrap();
    assert_eq!(data.validation_bytes().unwrap(), Some(counts.text_bytes - 1));

    // A file is measured in the same way.
    folder.write("file.txt", "the cat looked at the old man. ".repeat(20));
    let of_file = folder.run("evaluate pretrained --data file.txt --json").done().object();
    let bits = of_file["val_bits_per_byte"].as_f64().unwrap();
    let expected = of_file["val_loss"].as_f64().unwrap() * 24.0 / 31.0 / std::f64::consts::LN_2;
    assert!((bits / expected - 1.0).abs() < 0.02, "{bits}, expected {expected}");
}

/// The files of the cache whose names end so.
fn cached(folder: &Folder, ending: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder.path("cache")).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.to_string_lossy().ends_with(ending)).collect()
}

#[test]
fn a_cache_that_was_changed_is_refused_with_what_to_delete() {
    let folder = Folder::pretrained();
    let again = "pretrain --config pretrain.toml --set output_dir=again";
    for ending in [".train.tokens", ".validation.tokens", ".tokenizer.json"] {
        let [path] = &cached(&folder, ending)[..] else { panic!("{ending}") };
        let good = std::fs::read(path).unwrap();
        let mut bytes = good.clone();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(path, bytes).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        folder.run(again).fails(65, &[&name, "delete it"]);
        assert!(!folder.path("again/model").exists());
        std::fs::write(path, good).unwrap();
    }
    folder.run(again).done();
}

#[cfg(unix)]
#[test]
fn runs_that_start_together_share_an_empty_cache() {
    let folder = Folder::new();
    let start = |run: &str| folder.spawn(&format!("pretrain --config pretrain.toml --set output_dir={run}"));
    let runs = ["one", "two", "three"];
    let children: Vec<_> = runs.iter().map(|run| start(run)).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(cached(&folder, "").len(), 4, "two token files, a tokenizer and its hash; nothing else stays");
    let weights = |run: &str| folder.bytes(&format!("{run}/model/model.safetensors"));
    assert!(weights("one") == weights("two") && weights("two") == weights("three"));
}

#[test]
fn a_cache_that_cannot_be_written_is_named_by_its_own_key() {
    let folder = Folder::new();
    folder.write("file", "x");
    folder
        .run("pretrain --config pretrain.toml --set data.cache_dir=file/cache")
        .fails(73, &["data.cache_dir"]);
}
