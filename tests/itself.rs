//! What the program tells shells, `man` and editors of itself.

use serde_json::Value;

use crate::support::Folder;

#[test]
fn shells_complete_every_command() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = folder.run(&format!("completions {shell}")).done().stdout;
        for word in ["pretrain", "finetune", "compare", "--init-from", "--allow-data-change"] {
            // Some shells write the dashes apart from the name.
            assert!(script.contains(word.trim_start_matches('-')), "{shell} does not know {word}");
        }
    }
    folder.run("completions csh").fails(2, &["invalid value 'csh'"]);
}

#[test]
fn every_command_has_a_page_of_the_manual() {
    let folder = Folder::new();
    folder.run("manual pages").done();
    for (page, words) in [
        ("train", "whether pre\\-training helped"),
        ("train-pretrain", "\\-\\-resume"),
        ("train-finetune", "\\-\\-init\\-from"),
        ("train-data-audit", "\\-\\-corpus"),
        ("train-config-schema", "JSON Schema"),
    ] {
        let text = folder.text(&format!("pages/{page}.1"));
        assert!(text.contains(".TH ") && text.contains(words), "{page}: {text}");
    }
    folder.write("file", "");
    folder.run("manual file/pages").fails(73, &["cannot write file/pages", "choose another"]);
}

#[test]
fn the_schema_tells_an_editor_meaning_range_choices_and_default() {
    let text = Folder::new().run("config schema finetune").done().stdout;
    let schema: Value = serde_json::from_str(&text).unwrap();
    let dropout = &schema["properties"]["train"]["properties"]["dropout"];
    assert_eq!(dropout["description"], "Probability of dropping embeddings and block outputs.");
    assert_eq!((&dropout["minimum"], &dropout["exclusiveMaximum"]), (&0.into(), &1.into()));
    // Fine-tuning has another default than pre-training.
    assert_eq!(dropout["default"], 0.1);
    let audit = schema["properties"]["audit"]["oneOf"].as_array().unwrap();
    assert_eq!(
        audit.iter().map(|choice| &choice["const"]).collect::<Vec<_>>(),
        ["off", "warn", "drop", "deny"]
    );
    let families = schema["properties"]["model"]["oneOf"].as_array().unwrap();
    let family = |shape: &Value| shape["properties"]["model_type"]["const"].as_str().unwrap().to_string();
    let known = ["llama", "gpt2", "bert", "eurobert", "gpt2_bidirectional"];
    assert_eq!(families.iter().map(family).collect::<Vec<_>>(), known);
}
