//! What a user relies on from the tokenizer: no text is lost, no text turns into a special token.

use std::sync::LazyLock;

use proptest::prelude::*;
use train::ErrorKind;
use train::tokenizer::{END_OF_TEXT, PAD, Tokenizer, TokenizerConfig};

fn trained() -> Tokenizer {
    let documents = (0..40).map(|i| format!("the {i}th message went home, don't call it now: £{i}!"));
    let config = TokenizerConfig { vocab_size: 300, ..Default::default() };
    Tokenizer::train(documents, &config).unwrap()
}

#[test]
fn single_digits_are_tokens_of_their_own() {
    let documents = || (0..40).map(|i| format!("call 0845{i} now, £1000 prize"));
    let count = |single_digits| {
        let config = TokenizerConfig { vocab_size: 320, single_digits, ..Default::default() };
        let tokenizer = Tokenizer::train(documents(), &config).unwrap();
        let ids = tokenizer.encode("call 084517 now, £1000").unwrap();
        assert_eq!(tokenizer.decode(&ids).unwrap(), "call 084517 now, £1000");
        let digits = |id: &&u32| tokenizer.token(**id).contains(|c: char| c.is_ascii_digit());
        ids.iter().filter(digits).count()
    };
    assert_eq!(count(true), 10, "one token for each digit");
    assert!(count(false) < 10, "digits that often stand together are merged by default");
}

#[test]
fn training_twice_gives_the_same_bytes() {
    assert_eq!(trained().json(), trained().json());
}

#[test]
fn a_saved_tokenizer_is_the_same_when_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let before = trained();
    std::fs::write(&path, before.json()).unwrap();
    let after = Tokenizer::load(&path).unwrap();
    assert_eq!(after.sha256(), before.sha256());
    assert_eq!(after.vocab_size(), before.vocab_size());
    let text = "the message went somewhere else";
    assert_eq!(after.encode(text).unwrap(), before.encode(text).unwrap());
}

#[test]
fn the_special_tokens_are_there_and_have_no_bytes() {
    let tokenizer = trained();
    assert_eq!(tokenizer.token(tokenizer.end_of_text()), END_OF_TEXT);
    assert_eq!(tokenizer.token(tokenizer.pad()), PAD);
    assert_ne!(tokenizer.end_of_text(), tokenizer.pad());
    let bytes = tokenizer.token_bytes();
    assert_eq!(bytes.len(), tokenizer.vocab_size());
    let without: Vec<usize> = (0..bytes.len()).filter(|id| bytes[*id] == 0).collect();
    let mut special = [tokenizer.pad() as usize, tokenizer.end_of_text() as usize];
    special.sort_unstable();
    assert_eq!(without, special);
}

#[test]
fn text_that_spells_a_special_token_stays_text() {
    let tokenizer = trained();
    for text in [END_OF_TEXT, PAD, "a <|endoftext|><|pad|> b"] {
        let ids = tokenizer.encode(text).unwrap();
        assert!(
            !ids.contains(&tokenizer.end_of_text()) && !ids.contains(&tokenizer.pad()),
            "{text}: {ids:?}"
        );
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
    }
}

#[test]
fn files_that_are_no_tokenizer_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let model = |vocab: &str, merges: &str| {
        format!("{{\"model\":{{\"type\":\"BPE\",\"vocab\":{vocab},\"merges\":{merges}}}}}")
    };
    for text in [
        String::new(),
        "{".into(),
        "[]".into(),
        model("{\"a\":0}", "[[\"a\",\"b\"]]"),
        model("{\"a\":0}", "[\"a\"]"),
        model("{\"a\":0,\"b\":4294967295}", "[]"),
        model("{\"a\":0,\"b\":1}", "[]"),
    ] {
        std::fs::write(&path, &text).unwrap();
        let error = Tokenizer::load(&path).err().unwrap_or_else(|| panic!("{text} was taken"));
        assert_eq!(error.kind, ErrorKind::BadData, "{error}");
        assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
    }
}

static TRAINED: LazyLock<Tokenizer> = LazyLock::new(trained);

proptest! {
    #[test]
    fn no_text_is_lost(texts in proptest::collection::vec(any::<String>(), 1..5)) {
        let bytes = TRAINED.token_bytes();
        for (text, ids) in texts.iter().zip(TRAINED.encode_batch(&texts).unwrap()) {
            let decoded = TRAINED.decode(&ids).unwrap();
            prop_assert_eq!(&decoded, text);
            prop_assert_eq!(ids.iter().map(|id| bytes[*id as usize] as usize).sum::<usize>(), text.len());
        }
    }
}

#[test]
fn two_tokenizers_are_compared_on_the_same_text() {
    let folder = crate::support::Folder::pretrained();
    folder.run("tokenizer train corpus.txt --output larger.json --vocab-size 350").done();
    let line = "tokenizer inspect pretrained --against larger.json --data corpus.txt";
    let found = folder.run(&format!("{line} --json")).done().object();
    let each = |cut: &serde_json::Value| cut["bytes_per_token"].as_f64().unwrap();
    assert!(each(&found["against"]) > each(&found), "{found}");
    assert_eq!(found["bytes"], found["against"]["bytes"]);
    assert!(folder.run(line).done().stdout.contains("% of the tokens of the other"));
}

#[test]
fn a_tokenizer_is_trained_on_every_document_it_is_given() {
    let folder = crate::support::Folder::new();
    // Some of these would be held out if a part of them were.
    for word in ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"] {
        let text = format!("{word} ").repeat(20);
        folder.write("one.txt", &text);
        folder.run("tokenizer train one.txt --output one.json --vocab-size 300 --overwrite").done();
        let tokenizer = Tokenizer::load(&folder.path("one.json")).unwrap();
        assert!(tokenizer.vocab_size() > 258 && tokenizer.encode(word).unwrap().len() == 1, "{word}");
    }
    folder.write("blank.txt", " \n\n \n");
    folder
        .run("tokenizer train blank.txt --output none.json")
        .fails(65, &["no text to train a tokenizer on"]);
}

#[test]
fn text_without_a_space_is_trained_on_and_encoded_in_seconds() {
    let folder = crate::support::Folder::new();
    let letters: String = (0..300_000_usize).map(|i| ["a", "c", "g", "t"][i * i % 7 % 4]).collect();
    folder.write("runs.txt", format!("{}\n\n{letters}\n", "=".repeat(300_000)));
    let start = std::time::Instant::now();
    folder.run("tokenizer train runs.txt --output runs.json --vocab-size 300").done();
    folder.run("tokenizer inspect runs.json --data runs.txt").done();
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}

#[test]
fn a_tokenizer_that_cuts_text_by_chance_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let mut json: serde_json::Value = serde_json::from_slice(trained().json()).unwrap();
    json["model"]["dropout"] = serde_json::json!(0.1);
    std::fs::write(&path, json.to_string()).unwrap();
    let error = Tokenizer::load(&path).err().unwrap();
    assert_eq!(error.kind, ErrorKind::BadData);
    assert!(error.to_string().contains("dropout 0.1"), "{error}");
    json["model"]["dropout"] = serde_json::json!(0.0);
    std::fs::write(&path, json.to_string()).unwrap();
    assert!(Tokenizer::load(&path).is_ok());
}
