//! What a user sees of `train predict` and `train evaluate`: the same answers from wherever texts come, and files read
//! as their names, the flags or the run say.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Folder, Outcome};

/// A folder with a classifier from scratch, trained for no more than a few steps.
fn finetuned(more: &str) -> Folder {
    let folder = Folder::new();
    let line = "finetune --config finetune.toml --set init_from=scratch --set tokenizer.vocab_size=300 --set audit=off";
    folder.run(&format!("{line} {more}")).done();
    folder
}

fn predict(folder: &Folder, arguments: &[&str], input: &[u8]) -> Outcome {
    let mut command = folder.train(&[&["predict", "finetuned"], arguments].concat());
    Outcome::of("predict", command.write_stdin(input).output().unwrap())
}

fn texts(outcome: &Outcome) -> Vec<String> {
    let text =
        |line: &str| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_string();
    outcome.stdout.lines().map(text).collect()
}

#[test]
fn the_same_bytes_are_the_same_texts_from_a_file_and_from_standard_input() {
    let folder = finetuned("");
    let bytes = "\u{feff}win a prize\r\n\n   \nsee you\tat six\nlast".as_bytes();
    folder.write("in.txt", bytes);
    let from_file = predict(&folder, &["--input", "in.txt"], b"").done();
    let from_stream = predict(&folder, &["-"], bytes).done();
    assert_eq!(texts(&from_file), ["win a prize", "see you\tat six", "last"]);
    assert_eq!(from_stream.stdout, from_file.stdout);
    let as_text = predict(&folder, &["\u{feff}win a prize", "see you\tat six", "last"], b"").done();
    assert_eq!(as_text.stdout, from_file.stdout);
    predict(&folder, &["one", "  "], b"").fails(2, &["text 2 is blank"]);
    assert_eq!(predict(&folder, &["-"], b"").done().stdout, "");
}

#[test]
fn what_came_before_a_bad_byte_is_answered_and_the_line_is_named() {
    let folder = finetuned("");
    for (bytes, why) in
        [(&b"good\nfine\ncaf\xe9\nmore\n"[..], "Latin-1"), (b"good\nfine\na\0b\nmore\n", "NUL")]
    {
        folder.write("in.txt", bytes);
        for (arguments, input, name) in
            [(&["--input", "in.txt"][..], &b""[..], "in.txt:3"), (&["-"], bytes, "standard input:3")]
        {
            let outcome = predict(&folder, arguments, input).fails(65, &[name, why, "--lossy"]);
            assert_eq!(texts(&outcome), ["good", "fine"], "{name}");
            let lossy = predict(&folder, &[arguments, &["--lossy"]].concat(), input).done();
            assert_eq!(texts(&lossy).len(), 4);
        }
    }
    folder.write("in.csv", "label,text\nham,one\nham\nham,two\n");
    let outcome =
        predict(&folder, &["--input", "in.csv"], b"").fails(65, &["in.csv:3: 1 fields", "fix or remove"]);
    assert_eq!(texts(&outcome), ["one"]);
}

#[test]
fn an_endless_line_is_refused_alike_from_a_file_and_from_standard_input() {
    let folder = finetuned("");
    let mut bytes = b"good\n".to_vec();
    bytes.resize(20 << 20, b'a');
    folder.write("in.txt", &bytes);
    for (arguments, input, name) in
        [(&["--input", "in.txt"][..], &b""[..], "in.txt:2"), (&["-"], &bytes[..], "standard input:2")]
    {
        let outcome = predict(&folder, arguments, input).fails(65, &[name, "longer than 16 MiB"]);
        assert_eq!(texts(&outcome), ["good"]);
    }
}

#[test]
fn slow_lines_are_answered_as_they_come() {
    let folder = finetuned("");
    let mut command = std::process::Command::new(folder.train(&[]).get_program());
    command.current_dir(folder.path("")).args(["predict", "finetuned", "-"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (sender, answers) = channel();
    std::thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    for text in ["first", "second"] {
        writeln!(input, "{text}").unwrap();
        input.flush().unwrap();
        let answer = answers.recv_timeout(Duration::from_secs(20)).expect("an answer before the next line");
        assert!(answer.contains(text), "{answer}");
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_text_that_was_cut_says_so() {
    let folder = finetuned("");
    let long = "see you at the river ".repeat(20);
    let outcome = predict(&folder, &["short", &long], b"").done();
    let cut = |line: &str| serde_json::from_str::<Value>(line).unwrap()["truncated"].clone();
    assert_eq!(outcome.stdout.lines().map(cut).collect::<Vec<_>>(), [json!(false), json!(true)]);
}

/// A run whose rows came from a file whose name does not tell their format.
fn of_data_file() -> Folder {
    let folder = Folder::new();
    folder.write("m.dat", folder.text("messages.tsv"));
    let line = "finetune --config finetune.toml --set init_from=scratch --set tokenizer.vocab_size=300 --set audit=off";
    folder.run(&format!("{line} --set data.train=m.dat --set data.format=tsv")).done();
    folder
}

#[test]
fn the_name_of_a_file_goes_before_the_format_of_the_run_and_a_flag_before_both() {
    let folder = of_data_file();
    folder.write("q.csv", "id,text\n1,\"one, two\"\n");
    folder.write("q.jsonl", "{\"text\": \"one, two\"}\n");
    folder.write("q.txt", "one, two\n");
    folder.write("q.dat", "ham\tone, two\n");
    folder.write("q.log", "{\"text\": \"one, two\"}\n");
    for name in ["q.csv", "q.jsonl", "q.txt", "q.dat", "q.log --format jsonl"] {
        let answers = folder.run(&format!("predict finetuned --input {name}")).done();
        assert_eq!(texts(&answers), ["one, two"], "{name}");
    }
    let tsv = folder.text("messages.tsv");
    folder.write("e.csv", format!("label,text\n{}", tsv.replace('\t', ",\"").replace('\n', "\"\n")));
    folder.write("e.log", &tsv);
    let scores =
        |line: &str| folder.run(&format!("evaluate finetuned {line} --json")).done().object()["test"].clone();
    let expected = scores("--data messages.tsv");
    for line in ["--data m.dat", "--data e.log --format tsv", "--data e.log", "--data e.csv"] {
        assert_eq!(scores(line), expected, "{line}");
    }
}

#[test]
fn advice_names_what_the_command_has() {
    let folder = finetuned("");
    folder.write("n.log", "ham\tone\n");
    folder.write("n.csv", "label,message\nham,one\n");
    folder.write("latin.tsv", b"ham\tcaf\xe9\n");
    folder.run("predict finetuned --input n.log").fails(2, &["n.log", "set --format to tsv, csv, jsonl"]);
    folder.run("predict finetuned --input n.csv").fails(65, &["no column 'text'", "set --text-column"]);
    folder.run("predict finetuned --input n.csv --text-column message").done();
    for command in ["data inspect", "evaluate finetuned --data", "data split -o parts", "data audit --train"]
    {
        folder.run(&format!("{command} n.log")).fails(2, &["n.log", "set --format to tsv"]);
        folder.run(&format!("{command} n.csv")).fails(65, &["no column 'text'", "set --text-column"]);
        folder.run(&format!("{command} latin.tsv")).fails(65, &["latin.tsv:1", "or give --lossy"]);
    }
    folder.run("data inspect n.log --format tsv").done();
    folder.run("data inspect latin.tsv --lossy").done();
    let split = "data split messages.tsv -o parts --text-column a --label-column a";
    folder.run(split).fails(2, &["--text-column is 'a' and --label-column 'a'", "two names"]);
}

#[test]
fn a_language_model_is_measured_on_the_text_it_is_told() {
    let folder = Folder::new();
    let row = |(i, text): (usize, &str)| {
        json!({"sms": text, "text": format!("{i} qqqq xxxx"), "id": i}).to_string()
    };
    let rows: Vec<String> = folder
        .text("corpus.txt")
        .split("\n\n")
        .filter(|text| !text.is_empty())
        .enumerate()
        .map(row)
        .collect();
    folder.write("c.jsonl", rows.join("\n"));
    let run = "pretrain --config pretrain.toml --set data.train=[\"c.jsonl\"] --set data.text_column=sms";
    folder.run(run).done();
    let loss = |line: &str| {
        folder.run(&format!("evaluate pretrained {line} --json")).done().object()["val_loss"]
            .as_f64()
            .unwrap()
    };
    let own = loss("--data c.jsonl");
    assert_eq!(loss("--data c.jsonl --text-column sms"), own);
    assert_ne!(loss("--data c.jsonl --text-column text"), own);
    folder.write("c.log", folder.text("c.jsonl"));
    assert_eq!(loss("--data c.log --format jsonl"), own);
    folder.write("latin.txt", b"the cat walked to the caf\xe9\n\nthe dog\n");
    folder.run("evaluate pretrained --data latin.txt").fails(65, &["latin.txt:1", "or give --lossy"]);
    loss("--data latin.txt --lossy");
    folder.run("evaluate pretrained --data c.jsonl --label-column x").fails(2, &["reads no labels"]);
    folder.run("evaluate pretrained --data c.jsonl --text-column none").fails(65, &["'none'"]);
}

#[test]
fn rows_may_be_labelled_by_the_numbers_of_the_models_labels() {
    let folder = finetuned("");
    let tsv = folder.text("messages.tsv");
    folder.write("n.tsv", tsv.replace("ham\t", "0\t").replace("spam\t", "1\t"));
    let scores = |name: &str| folder.run(&format!("evaluate finetuned --data {name} --json")).done().object();
    assert_eq!(scores("n.tsv")["test"], scores("messages.tsv")["test"]);
    folder.write("n.tsv", "0\tone\n2\ttwo\n");
    folder
        .run("evaluate finetuned --data n.tsv")
        .fails(65, &["n.tsv:2: label 2 has no name, named: 'ham', 'spam'"]);
}

#[test]
fn a_number_that_is_no_label_is_refused_where_labels_are_numbers() {
    let folder = Folder::new();
    let tsv = folder.text("messages.tsv").replace("ham\t", "1\t").replace("spam\t", "2\t");
    folder.write("messages.tsv", &tsv);
    folder.run("finetune --config finetune.toml --init-from scratch").done();
    folder.run("evaluate finetuned --data messages.tsv").done();
    folder.write("n.tsv", format!("{tsv}0\tno label given\n"));
    folder.run("evaluate finetuned --data n.tsv").fails(65, &["unknown label '0', known: '1', '2'"]);
}

/// Texts of a test file, and what the run at `run` answered to them.
fn answers(folder: &Folder, run: &str, positive: &str) -> Vec<f64> {
    let stored = folder.json_lines(&format!("{run}/predictions.jsonl"));
    stored.iter().map(|row| row["probability"][positive].as_f64().unwrap()).collect()
}

fn asked(folder: &Folder, run: &str, texts: &[&str]) -> Vec<f64> {
    let outcome = folder.train(&[&["predict", run], texts].concat()).output().unwrap();
    let outcome = Outcome::of("predict", outcome).done();
    let line = |line: &str| serde_json::from_str::<Value>(line).unwrap()["probabilities"]["spam"].as_f64();
    outcome.stdout.lines().map(|text| line(text).unwrap()).collect()
}

fn close(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6)
}

const TESTED: [&str; 4] =
    ["win a prize now", "see you at six then", "call to claim the prize", "bring the book home please"];

fn write_tested(folder: &Folder) {
    let rows = TESTED.iter().zip(["spam", "ham", "spam", "ham"]);
    folder.write("tested.tsv", rows.map(|(text, label)| format!("{label}\t{text}\n")).collect::<String>());
}

#[test]
fn a_run_with_ngrams_answers_as_both_and_its_model_alone_as_the_transformer() {
    let folder = Folder::new();
    write_tested(&folder);
    let line = "finetune --config finetune.toml --set init_from=scratch --set tokenizer.vocab_size=300 --set audit=off \
                --set data.test=tested.tsv";
    folder.run(&format!("{line} --set output_dir=alone")).done();
    folder.run(&format!("{line} --set classifier.with_ngrams=true --set output_dir=both")).done();
    let (alone, both) = (answers(&folder, "alone", "spam"), answers(&folder, "both", "spam"));
    let results = folder.json("both/results.json");
    assert!(results["with_ngrams"]["ngrams"].as_f64().unwrap() > 0.0, "{results}");
    assert!(!close(&alone, &both));
    assert!(close(&asked(&folder, "both", &TESTED), &both), "asked again it says what it said");
    // Other programs have the transformer alone, with its own threshold.
    let config = |run: &str| folder.json(&format!("{run}/model/config.json"));
    assert_eq!(config("both"), config("alone"));
    assert!(close(&asked(&folder, "both/model", &TESTED), &alone));
    let scores = folder.run("evaluate both --data tested.tsv --json").done().object();
    assert_eq!(scores["test"]["f1"], results["test"]["f1"], "{scores}");
    folder.write("both/ngrams.safetensors", "no such thing");
    folder.run("predict both hello").fails(65, &["ngrams.safetensors is damaged", "run it again"]);
    folder.remove("both/ngrams.safetensors");
    folder.run("predict both hello").fails(66, &["ngrams.safetensors"]);
}

#[test]
fn the_rows_with_ngrams_of_a_comparison_can_be_asked() {
    let folder = Folder::new();
    write_tested(&folder);
    let line =
        "compare --config compare.toml --set finetune.data.test=tested.tsv --set budgets=[0] --set seeds=[1]";
    folder.run(line).done();
    for arm in ["pretrained_ngrams", "scratch_ngrams"] {
        let run = format!("compared/baselines/{arm}-all-seed1");
        assert!(close(&asked(&folder, &run, &TESTED), &answers(&folder, &run, "spam")), "{arm}");
    }
    // Wherever the comparison lies.
    std::fs::rename(folder.path("compared"), folder.path("moved")).unwrap();
    let run = "moved/baselines/pretrained_ngrams-all-seed1";
    assert!(close(&asked(&folder, run, &TESTED), &answers(&folder, run, "spam")));
    let round = "moved/baselines/../baselines/pretrained_ngrams-all-seed1";
    assert!(close(&asked(&folder, round, &TESTED), &answers(&folder, run, "spam")));
    // N-grams that were lost are made again with the rest.
    folder.replace("compared", "moved");
    let kept = "compared/baselines/char_svm-all-seed1/ngrams.safetensors";
    let before = folder.bytes(kept);
    folder.remove(kept);
    folder.run(&format!("{line} --resume")).done();
    assert!(folder.bytes(kept) == before);
    let results = "compared/baselines/pretrained_ngrams-all-seed1/results.json";
    let outside = folder
        .text(results)
        .replace("\"pretrained-all-seed1\"", "\"../compared/baselines/scratch_ngrams-all-seed1\"");
    folder.write(results, outside);
    folder
        .run("predict compared/baselines/pretrained_ngrams-all-seed1 hello")
        .fails(65, &["is damaged", "outside its comparison"]);
    folder
        .run("compare --config compare.toml --set finetune.classifier.with_ngrams=true --overwrite")
        .fails(2, &["finetune.classifier.with_ngrams has no effect in a comparison", "row with n-grams"]);
}

#[test]
fn a_long_text_is_read_to_its_end_in_windows_and_its_model_folder_reads_as_much() {
    let folder = Folder::new();
    // What tells the labels apart comes at the end.
    let filler = "and so we went on with what there was to do that day, as one does, ".repeat(3);
    let row = |i: usize| match i % 2 {
        0 => format!("spam\t{filler}{i} claim the prize now call\n"),
        _ => format!("ham\t{filler}{i} see you at home then\n"),
    };
    folder.write("long.tsv", (0..80).map(row).collect::<String>());
    let line = "finetune --config finetune.toml --set init_from=scratch --set tokenizer.vocab_size=300 --set audit=off \
                --set data.train=long.tsv --set data.positive_label=spam --set train.seq_len=24";
    let run = |name: &str, more: &str| {
        let outcome = folder.run(&format!("{line} --set output_dir={name} {more}")).done();
        (outcome.stderr, folder.json(&format!("{name}/results.json")))
    };
    let (said, read) = run("read", "--set classifier.windows=0");
    let windows = read["windows"].as_u64().unwrap();
    assert!(windows > 3 && windows <= 8, "{windows}");
    assert!(said.contains(&format!("longer texts in up to {windows} windows")), "{said}");
    assert_eq!(read["truncated_share"].as_f64(), Some(0.0));
    let (said, cut) = run("cut", "");
    assert!(said.contains("longer than 24 tokens and lose their end"), "{said}");
    assert!(cut["truncated_share"].as_f64().unwrap() > 0.9);
    assert_eq!(folder.json("read/model/config.json")["classifier_windows"].as_u64(), Some(windows));
    assert!(folder.json("cut/model/config.json")["classifier_windows"].is_null());
    let text = format!("{filler}7 claim the prize now call");
    let ask = |run: &str| {
        let outcome = folder.train(&["predict", run, &text]).output().unwrap();
        serde_json::from_str::<Value>(&Outcome::of("predict", outcome).done().stdout).unwrap()
    };
    let (of_run, of_model) = (ask("read"), ask("read/model"));
    assert_eq!(of_run["probabilities"], of_model["probabilities"]);
    assert_eq!((of_run["truncated"].as_bool(), ask("cut")["truncated"].as_bool()), (Some(false), Some(true)));
    // Ten steps at once are five and five more, as for short texts.
    let halves = "--set output_dir=halves --set train.save_interval=5";
    folder.run(&format!("{line} {halves} --set classifier.windows=0 --set train.max_steps=10")).done();
    folder
        .run(&format!("{line} --set output_dir=whole --set classifier.windows=0 --set train.max_steps=10"))
        .done();
    let weights = |run: &str| folder.bytes(&format!("{run}/model/model.safetensors"));
    assert!(weights("halves") == weights("whole"));
}
