//! What a user sees of scores where labels lack rows: parts, choices, means, and names that are hard to print.

use serde_json::Value;

use crate::support::Folder;

const SCRATCH: &str =
    "finetune --config finetune.toml --set init_from=scratch --set tokenizer.vocab_size=300 --set audit=off";

fn warnings(stderr: &str) -> Vec<&str> {
    stderr.lines().filter(|line| line.starts_with("warning: ")).collect()
}

#[test]
fn validation_rows_of_one_label_leave_the_choice_to_the_loss() {
    let folder = Folder::new();
    let ham = |text: &str| {
        text.lines().filter(|line| line.starts_with("ham")).map(|line| format!("{line}\n")).collect()
    };
    let rows: String = ham(&folder.text("messages.tsv"));
    folder.write("v.tsv", rows.lines().take(10).map(|line| format!("{line} really\n")).collect::<String>());
    let line =
        format!("{SCRATCH} --set data.validation=v.tsv --set train.max_steps=12 --set train.eval_interval=2");
    let outcome = folder.run(&format!("{line} --json")).done();
    assert!(
        warnings(&outcome.stderr)
            .iter()
            .any(|line| line.contains("labelled ham") && line.contains("loss chooses"))
    );
    let by_f1 = outcome.object();
    let findings = by_f1["verdict"]["findings"].to_string();
    assert!(findings.contains("Every validation row is labelled ham"), "{findings}");
    let by_loss = folder
        .run(&format!("{line} --overwrite --json --set classifier.selection_metric=val_loss"))
        .done()
        .object();
    assert_eq!(by_f1["best_step"], by_loss["best_step"]);
    let events = folder.json_lines("finetuned/metrics.jsonl");
    let loss = |event: &Value| Some((event["val_loss"].as_f64()?, event["step"].as_u64()?));
    let lowest = events.iter().filter_map(loss).min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    assert_eq!(by_f1["best_step"].as_u64().unwrap(), lowest.1);
    assert!(lowest.1 > 2, "the case is one where the first evaluation is not the best");
}

#[test]
fn a_label_without_test_rows_lowers_no_mean() {
    let folder = Folder::new();
    let row = |i: usize| match i % 3 {
        0 => format!("red\tred apple number {i}\n"),
        1 => format!("blue\tblue sky over {i}\n"),
        _ => format!("green\tgreen grass near {i}\n"),
    };
    let rows: Vec<String> = (0..90).map(row).collect();
    folder.write("three.tsv", rows.concat());
    folder.write("two.tsv", rows.iter().filter(|row| !row.starts_with("blue")).cloned().collect::<String>());
    let line = format!(
        "{SCRATCH} --set data.train=three.tsv --set train.max_steps=60 --set classifier.pooling=mean"
    );
    folder.run(&line).done();
    let outcome = folder.run("evaluate finetuned --data two.tsv --json --fail-under f1=0.9").done();
    let test = outcome.object()["test"].clone();
    assert_eq!(
        (test["accuracy"].as_f64(), test["f1"].as_f64(), test["macro_f1"].as_f64()),
        (Some(1.0), Some(1.0), Some(1.0))
    );
    let shown = folder.run("evaluate finetuned --data two.tsv").done().stdout;
    assert!(shown.contains("Verdict: fit for use") && shown.contains("no row labelled blue"), "{shown}");
    let blue =
        shown.lines().find(|line| line.trim().starts_with("blue") && line.contains("no rows")).unwrap();
    assert!(!blue.contains("0.000"), "{blue}");
}

#[test]
fn of_two_common_labels_the_likelier_is_given_unless_one_is_named() {
    let folder = Folder::new();
    let row = |i: usize| match i % 2 {
        0 => format!("good\ta fine day number {i}, we like it\n"),
        _ => format!("bad\tan awful night over {i}, we left\n"),
    };
    folder.write("even.tsv", (0..80).map(row).collect::<String>());
    let line = format!("{SCRATCH} --set data.train=even.tsv --set train.max_steps=8");
    let outcome = folder.run(&line).done();
    assert!(outcome.stderr.contains("macro F1 leads"), "{}", outcome.stderr);
    let results = folder.json("finetuned/results.json");
    for part in ["validation", "test"] {
        assert_eq!(results[part]["threshold"], Value::Null);
        assert_eq!(results[part]["f1"], results[part]["macro_f1"]);
    }
    let answer = folder.run("predict finetuned --json fine").done().object();
    assert_eq!(answer["threshold"], Value::Null);
    assert!(answer["probability"].as_f64().unwrap() >= 0.5);
    let scored =
        |model: &str| folder.run(&format!("evaluate {model} --data even.tsv --json")).done().object();
    folder.run("export finetuned --to exported").done();
    assert_eq!(scored("exported")["test"], scored("finetuned")["test"]);
    assert_eq!(folder.json("exported/config.json")["classifier_threshold"], Value::Null);
    folder.run("report finetuned").done();
    let decision = "--set decision.min_recall=0.9 --overwrite";
    folder.run(&format!("{line} {decision}")).fails(2, &["[decision]", "data.positive_label"]);
    folder.run(&format!("{line} {decision} --set data.positive_label=bad")).done();
    assert!(folder.json("finetuned/results.json")["test"]["threshold"].is_f64());
}

#[test]
fn a_split_has_rows_in_each_part_and_each_class_in_training_or_is_refused() {
    let folder = Folder::new();
    let word = |n: usize| ["ab", "cd", "ef", "gh", "ij", "kl", "mn"][n % 7].repeat(n / 7 + 1);
    let copies: String = (0..40).map(|i| format!("x,win a prize today call {i} now\n")).collect();
    let others: String = (0..60).map(|i| format!("y,{} {} see you then\n", word(i), word(i / 2))).collect();
    folder.write("big.csv", format!("label,text\n{copies}{others}"));
    let outcome = folder.run("data split big.csv -o big --json").done();
    let parts = outcome.object()["parts"].clone();
    assert_eq!(parts["train"]["labels"]["x"], 40, "{parts}");
    assert!((10..=25).contains(&parts["test"]["rows"].as_u64().unwrap()), "{parts}");
    let warned = warnings(&outcome.stderr);
    assert_eq!(warned.len(), 2, "{warned:?}");
    assert!(warned.iter().all(|line| line.contains("has no row labelled \"x\", so")), "{warned:?}");

    folder.write("four.csv", "label,text\na,one cat\na,two dogs\nb,red roses\nb,blue sky\n");
    let parts = folder.run("data split four.csv -o four --json").done().object()["parts"].clone();
    assert_eq!(parts["train"]["labels"].to_string(), r#"{"a":1,"b":1}"#, "{parts}");
    folder.write("two.csv", "label,text\na,one cat\nb,red roses\n");
    folder
        .run("data split two.csv -o two")
        .fails(65, &["two.csv: ", "would have no row", "2 groups", "--threshold"]);
    assert!(!folder.path("two").exists());
    folder.run("data split two.csv -o two --validation-fraction 0 --test-fraction 0").done();
}

#[test]
fn names_of_labels_break_no_table() {
    let folder = Folder::new();
    let name = |spam: bool| if spam { "a|b\n<b>spam</b>" } else { "ham | eggs" };
    let row = |line: &str| {
        let (label, text) = line.split_once('\t').unwrap();
        serde_json::json!({"label": name(label == "spam"), "text": text}).to_string() + "\n"
    };
    folder.write("m.jsonl", folder.text("messages.tsv").lines().map(row).collect::<String>());
    folder.run(&format!("{SCRATCH} --set data.train=m.jsonl")).done();
    for file in ["finetuned/report.md", "finetuned/model/README.md"] {
        let text = folder.text(file);
        assert!(!text.replace("\\<", "").contains("<b>"), "{file}: {text}");
        for table in text.split("\n\n").filter(|part| part.starts_with('|')) {
            let columns = |row: &str| row.replace("\\|", "").matches('|').count();
            let first = columns(table.lines().next().unwrap());
            let rows = table.lines().take_while(|line| line.starts_with('|'));
            assert!(rows.clone().count() == table.lines().count(), "{file}: {table}");
            assert!(rows.into_iter().all(|row| columns(row) == first), "{file}: {table}");
        }
    }
    assert!(!folder.text("finetuned/report.html").contains("<b>spam"));
}

#[test]
fn labels_alike_are_warned_of_where_they_are_trained_on() {
    let folder = Folder::new();
    let rows = folder.text("messages.tsv").replacen("spam\t", "SPAM\t", 8);
    folder.write("m.tsv", rows);
    let outcome = folder.run(&format!("{SCRATCH} --set data.train=m.tsv")).done();
    let warned = warnings(&outcome.stderr);
    assert!(
        warned.iter().any(|line| line.contains("'SPAM' (8 rows") && line.contains("'spam' (12 rows")),
        "{warned:?}"
    );
    let outcome = folder.run("data inspect m.tsv").done();
    assert_eq!(warnings(&outcome.stderr).len(), 1);
}

#[test]
fn a_key_for_text_takes_a_number_as_it_stands() {
    let folder = Folder::new();
    let rows = folder.text("messages.tsv").replace("ham\t", "0\t").replace("spam\t", "1\t");
    folder.write("m.tsv", rows);
    folder.run(&format!("{SCRATCH} --set data.train=m.tsv --set data.positive_label=0")).done();
    assert_eq!(folder.json("finetuned/results.json")["positive"], "0");
    let show = |set: &str| folder.run(&format!("config check finetune --config finetune.toml --set {set}"));
    for text in ["1.0", "true", "2024-01-01", "1e3"] {
        let shown = show(&format!("output_dir={text}")).done().stdout;
        assert!(shown.contains(&format!("output_dir = \"{text}\"")), "{shown}");
    }
    show("output_dir=\"7\"").done();
    show("train.max_steps=\"7\"").fails(2, &["--set train.max_steps", "invalid type: string"]);
    show("train.max_steps=1.5").fails(2, &["invalid type: floating point"]);
}

#[test]
fn a_model_with_two_labels_of_one_name_is_refused() {
    let folder = Folder::new();
    folder.run(SCRATCH).done();
    let config = folder.text("finetuned/model/config.json").replace("\"spam\"", "\"ham\"");
    folder.write("finetuned/model/config.json", config);
    folder.run("predict finetuned/model hello").fails(65, &["config.json", "names two labels \"ham\""]);
}
