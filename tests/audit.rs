//! Overlaps: what `train data` finds, splits and counts, and what a comparison does about it.

use std::collections::HashSet;

use serde_json::Value;

use crate::support::{Folder, sms_spam};

/// Twenty different rows, and five test rows of which three stand in training and one in the corpus.
fn leaking() -> Folder {
    let folder = Folder::new();
    let names = ["anna", "bert", "carl", "dora", "emil", "fred", "gina", "hans", "ida", "jens"];
    let train: String = names
        .iter()
        .map(|name| {
            format!(
                "ham\t{name} is on the way to the station now\nspam\twin a prize {name}, reply to claim it\n"
            )
        })
        .collect();
    folder.write("train.tsv", train);
    folder.write(
        "test.tsv",
        "ham\tanna is on the way to the station now\nham\tBERT is  on the way to the station now\n\
         spam\twin a prize carl, reply to claim it today\nspam\tcongratulations you were chosen for 1000 euros in cash\n\
         ham\tno idea what you mean by that\n",
    );
    folder.write(
        "texts.txt",
        "a first line\nhe read: Congratulations, you were chosen for 50 euros in cash! and laughed\nthe end\n",
    );
    folder
}

fn overlap<'a>(found: &'a Value, part: &str, with: &str) -> &'a Value {
    let all = found["overlaps"].as_array().unwrap();
    all.iter().find(|overlap| overlap["part"] == part && overlap["with"] == with).unwrap()
}

#[test]
fn an_audit_finds_equal_and_near_texts_and_those_in_the_corpus() {
    let folder = leaking();
    let line = "data audit --train train.tsv --test test.tsv --corpus texts.txt --threshold 0.6";
    let found = folder.run(&format!("{line} --json")).done().object();
    assert_eq!(found["rows"]["corpus"], 3);
    let with_train = overlap(&found, "test", "train");
    let counts = ["exact", "normalised", "masked", "near"].map(|kind| with_train[kind].as_u64().unwrap());
    assert_eq!(counts, [1, 1, 0, 1]);
    assert_eq!(overlap(&found, "test", "corpus")["masked"], 1, "inside a longer line, with other digits");
    assert_eq!(found["test_rows"], serde_json::json!([0, 1, 2, 3]));
    let example = &overlap(&found, "test", "corpus")["examples"][0];
    assert!(example["other"].as_str().unwrap().starts_with("he read:"), "{example}");
    folder
        .run(&format!("{line} --deny"))
        .fails(3, &["audit failed: 4 of 5 test rows", "3 in train", "1 in corpus"]);
    folder.run("data audit --train train.tsv --deny").fails(2, &["--test"]);
    folder.run("data audit").fails(2, &["--train"]);
    folder.run("data audit --train train.tsv --threshold 0").fails(2, &["--threshold is 0"]);
    folder.run("data audit --train nowhere.tsv").fails(66, &["nowhere.tsv"]);
}

#[test]
fn near_copies_are_found_in_text_without_spaces() {
    let folder = Folder::new();
    let prize = |name: &str| format!("恭喜{name}您获得本次活动一等奖请立即拨打客服电话领取您的奖金");
    let row = |label: &str, text: &str| format!("{label}\t{text}\n");
    let meal = "今天晚上一起去吃饭吗我在公司门口等你下班";
    folder.write("train.tsv", row("spam", &prize("小明")) + &row("ham", meal));
    folder.write(
        "test.tsv",
        row("spam", &prize("大卫")) + &row("ham", "明天早上的会议改到下午三点请大家准时参加"),
    );
    let found =
        folder.run("data audit --train train.tsv --test test.tsv --threshold 0.7 --json").done().object();
    assert_eq!(found["test_rows"], serde_json::json!([0]));
    assert_eq!(overlap(&found, "test", "train")["near"], 1);
}

#[test]
fn a_split_keeps_close_texts_together_and_says_which_row_is_where() {
    let folder = Folder::new();
    let line =
        "data split messages.tsv --output parts --validation-fraction 0.2 --test-fraction 0.2 --seed 3";
    let printed = folder.run(&format!("{line} --json")).done().object();
    let record = folder.json("parts/split.json");
    assert_eq!(printed["parts"], record["parts"]);
    let rows = |part: &str| -> HashSet<u64> {
        record["indices"][part].as_array().unwrap().iter().map(|row| row.as_u64().unwrap()).collect()
    };
    let parts = ["train", "validation", "test"].map(rows);
    assert_eq!(parts.iter().map(HashSet::len).sum::<usize>(), 80);
    assert_eq!(parts.iter().flatten().collect::<HashSet<_>>().len(), 80);
    let lines: Vec<String> = folder.text("messages.tsv").lines().map(String::from).collect();
    for (part, rows) in ["train", "validation", "test"].iter().zip(&parts) {
        for row in folder.json_lines(&format!("parts/{part}.jsonl")) {
            let (label, text) = (row["label"].as_str().unwrap(), row["text"].as_str().unwrap());
            let place = lines.iter().position(|line| *line == format!("{label}\t{text}")).unwrap();
            assert!(rows.contains(&(place as u64)), "{part}: {text}");
        }
    }
    let audit = "data audit --train parts/train.jsonl --validation parts/validation.jsonl --test parts/test.jsonl --deny";
    folder.run(audit).done();
    folder.run(line).fails(73, &["split.json exists"]);
    folder.run(&format!("{line} --overwrite")).done();
    folder.run("data split messages.tsv --output p --test-fraction 0.95").fails(2, &["test fraction 0.95"]);
}

#[test]
fn inspecting_counts_classes_lengths_and_repeats() {
    let folder = Folder::pretrained();
    folder.write("rows.tsv", "ham\tone two three\nham\tOne  two three\nspam\ttwo &lt;#&gt; words\nspam\ta\n");
    let found = folder.run("data inspect rows.tsv --tokenizer pretrained --seq-len 6 --json").done().object();
    assert_eq!((&found["rows"], &found["repeats"]["normalised"]), (&Value::from(4), &Value::from(1)));
    assert_eq!(found["classes"][0]["words"]["median"], 3);
    assert_eq!(found["with_html_entities"], 1);
    assert!(found["tokens"]["truncated"].as_u64().unwrap() >= 1, "{found}");
    let text = folder.run("data inspect rows.tsv").done().stdout;
    assert!(text.contains("ham") && text.contains("50.0 %"), "{text}");
}

#[test]
fn a_comparison_warns_drops_or_denies() {
    let folder = Folder::new();
    // Rows of words alone, so that only what is put in on purpose overlaps.
    let words = ["red", "blue", "green", "tall", "small", "old", "new", "cold", "warm", "dry", "wet"];
    let row = |i: usize, label: &str| {
        let word = |at: usize| words[(i * (at + 3) + at * at + i / 11) % words.len()];
        let kind = if label == "spam" { "prize cash win" } else { "home dinner see" };
        format!("{label}\t{} {} {kind} {} {}\n", word(0), word(1), word(2), word(5))
    };
    let rows: String = (0..120).map(|i| row(i, if i % 3 == 0 { "spam" } else { "ham" })).collect();
    folder.write("messages.tsv", rows);
    folder.run("data split messages.tsv --output parts").done();
    let test = folder.json_lines("parts/test.jsonl");
    let leaked = test[0]["text"].as_str().unwrap();
    folder.write("corpus.txt", folder.text("corpus.txt") + "\n" + leaked + "\n");
    let line = |audit: &str| {
        let data: String = ["train", "validation", "test"]
            .map(|part| format!("--set finetune.data.{part}=parts/{part}.jsonl "))
            .concat();
        format!("compare --config compare.toml --set output_dir={audit} --set audit={audit} {data} --json")
    };
    folder.run(&line("deny")).fails(3, &["audit failed: 1 of", "1 in corpus", "audit = \"drop\""]);
    assert!(!folder.path("deny/pretrain").exists(), "nothing was trained");

    let warned = folder.run(&line("warn")).done().object();
    assert_eq!(warned["test_rows"], test.len());
    assert_eq!(warned["clean"]["test_rows"], test.len() - 1);
    assert!(warned["clean"]["paired"]["budgets"]["all"]["f1"]["ci95"].is_array());
    let findings = warned["verdict"]["findings"].to_string();
    assert!(findings.contains("Leakage: 1 of"), "{findings}");

    // Every run of it has answered all rows: dropping them is another comparison.
    let resumed = line("drop").replace("output_dir=drop", "output_dir=warn") + " --resume";
    folder.run(&resumed).fails(2, &["audit", "warn", "drop", "--overwrite"]);
    let dropped = folder.run(&line("drop")).done().object();
    for run in ["pretrained-all-seed1", "scratch-20-seed2", "baselines/char_svm-all-seed1"] {
        let answers = folder.json_lines(&format!("drop/{run}/predictions.jsonl"));
        assert_eq!(answers.len(), test.len() - 1, "{run}");
    }
    let findings = dropped["verdict"]["findings"].to_string();
    assert!(findings.contains("they are left out of every score"), "{findings}");
    assert_eq!(dropped["test_rows"], test.len() - 1);
    assert_eq!(dropped["arms"], warned["clean"]["arms"], "the same rows, the same scores");
}

/// A finished pre-training and fifty rows of unlike words, of which one test row and one validation row were seen
/// before.
fn leaking_fine_tuning() -> Folder {
    let folder = Folder::new();
    let corpus = folder.text("corpus.txt");
    let row = |i: usize| {
        let label = if i.is_multiple_of(3) { "spam" } else { "ham" };
        // Digits would not tell words apart.
        let own: String = [i / 26, i % 26].map(|at| char::from(b'a' + at as u8)).iter().collect();
        format!("{label}\tw{own} x{own} y{own} z{own} {} u{own}\n", ["win", "home"][i % 2])
    };
    let rows = |range: std::ops::Range<usize>| range.map(row).collect::<String>();
    folder.write("train.tsv", rows(0..30));
    let text = |row: String| row.trim().split_once('\t').unwrap().1.to_uppercase();
    // A copy but for case would not be trained on; one word more makes it near, four of five triples being the same.
    folder.write("validation.tsv", rows(30..39) + &format!("ham\t{} again\n", text(row(1))));
    folder.write("test.tsv", rows(40..50));
    folder.write("corpus.txt", format!("{corpus}\n\n{}\n\n", text(row(41))));
    folder.run("pretrain --config pretrain.toml").done();
    folder
}

/// The fine-tuning with this `audit`, into the directory of the same name.
fn fine_tuning(audit: &str) -> String {
    format!(
        "finetune --config finetune.toml --set data.train=train.tsv --set data.validation=validation.tsv \
         --set data.test=test.tsv --set train.max_steps=2 --set output_dir={audit} --set audit={audit}"
    )
}

#[test]
fn a_fine_tuning_warns_drops_or_denies() {
    let folder = leaking_fine_tuning();
    let denied = ["1 of 10 test rows", "1 in corpus", "1 of 10 validation rows", "1 in train"];
    folder.run(&fine_tuning("deny")).fails(3, &denied);
    assert!(!folder.path("deny/config.toml").exists(), "nothing was trained");

    let warned = folder.run(&fine_tuning("warn")).done();
    assert!(warned.stderr.contains("Leakage: 1 of 10 test rows"), "{}", warned.stderr);
    let warned = folder.json("warn/results.json");
    assert_eq!(folder.json_lines("warn/predictions.jsonl").len(), 10);
    let counts = |scores: &Value| {
        ["tp", "fp", "fn", "tn"].map(|key| scores[key].as_u64().unwrap()).iter().sum::<u64>()
    };
    assert_eq!((counts(&warned["test"]), counts(&warned["clean"])), (10, 9));
    assert!(
        warned["verdict"]["findings"].to_string().contains("On the 9 test rows without duplicates elsewhere")
    );

    folder.run(&fine_tuning("drop")).done();
    let dropped = folder.json("drop/results.json");
    let kept = folder.json_lines("drop/predictions.jsonl");
    assert_eq!((kept.len(), counts(&dropped["test"])), (9, 9));
    assert_eq!(folder.json_lines("drop/validation_predictions.jsonl").len(), 9);
    assert!(dropped["clean"].is_null() && dropped["audit"]["dropped"] == true);
    let findings = dropped["verdict"]["findings"].to_string();
    assert!(findings.contains("they are left out of every score"), "{findings}");
    for page in ["report.md", "report.html"] {
        assert!(folder.text(&format!("drop/{page}")).contains("Overlaps"), "{page}");
    }
}

#[test]
fn a_fine_tuning_whose_pre_training_text_has_gone_only_warns() {
    let folder = leaking_fine_tuning();
    folder.run(&fine_tuning("off")).done();
    assert!(folder.json("off/results.json")["audit"].is_null());
    folder.run(&fine_tuning("drop")).done();
    // A warning goes on without the text, a promise to leave rows out cannot be kept.
    folder.remove("corpus.txt");
    let gone = folder.run(&(fine_tuning("warn") + " --overwrite")).done();
    assert!(gone.stderr.contains("corpus.txt"), "{}", gone.stderr);
    let found = folder.json("warn/results.json");
    assert!(found["audit"]["unknown_text"] == true, "{}", found["audit"]);
    folder.run(&(fine_tuning("drop") + " --overwrite")).fails(66, &["corpus.txt"]);
    assert!(folder.path("drop/results.json").exists(), "what was there stays");
    folder.run(&(fine_tuning("warn") + " --set audit_threshold=2")).fails(2, &["audit_threshold is 2"]);
}

#[test]
fn the_repeats_of_the_sms_spam_collection_are_found() {
    let Some(data) = sms_spam() else { return };
    let folder = Folder::new();
    let raw =
        folder.run(&format!("data inspect {}/SMSSpamCollection.tsv --json", data.display())).done().object();
    let repeats = &raw["repeats"];
    // Known from another program: 415 of 5,574 rows repeat an earlier one but for case and white space.
    let equal = repeats["exact"].as_u64().unwrap() + repeats["normalised"].as_u64().unwrap();
    assert_eq!((&raw["rows"], equal), (&Value::from(5574), 415));

    let part = |part: &str| format!("--{part} {}/{part}.tsv", data.display());
    let parts = format!("{} {} {}", part("train"), part("validation"), part("test"));
    let found = folder.run(&format!("data audit {parts} --json")).done().object();
    let with_train = overlap(&found, "test", "train");
    assert_eq!((&with_train["exact"], &with_train["normalised"]), (&Value::from(0), &Value::from(0)));
    // 25 by the same similarity without masked digits; masking can only find more.
    let close = with_train["masked"].as_u64().unwrap() + with_train["near"].as_u64().unwrap();
    assert!((25..60).contains(&close), "{with_train}");

    // A corpus into which 100 test messages were mixed.
    let test = std::fs::read_to_string(data.join("test.tsv")).unwrap();
    let mixed = test.lines().take(100).map(|line| line.split_once('\t').unwrap().1);
    folder.write("mixed.txt", mixed.collect::<Vec<_>>().join("\n"));
    let found = folder.run(&format!("data audit {} --corpus mixed.txt --json", part("test"))).done().object();
    // Space at the end of a document is dropped, so a few are equal but for white space.
    let in_corpus = overlap(&found, "test", "corpus");
    let equal = in_corpus["exact"].as_u64().unwrap() + in_corpus["normalised"].as_u64().unwrap();
    assert_eq!(equal, 100, "{in_corpus}");
}
