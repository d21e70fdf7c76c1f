//! What a user sees of labelled data: files read or refused, parts that do not overlap, label budgets.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;
use train::Error;
use train::data::{LabelledConfig, LabelledSplit, RowFormat, read_labelled, read_texts};
use train::internals::exit_code;

use crate::support::sms_spam;

fn written(name: &str, content: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    (folder, path)
}

/// (label, text, line) of each row.
fn rows_of(path: &Path) -> Vec<(String, String, u64)> {
    let read = read_labelled(path, &LabelledConfig::default(), None).unwrap();
    let name = |label: u32| read.label_names[label as usize].clone();
    read.examples.into_iter().map(|row| (name(row.label), row.text, row.line)).collect()
}

fn row(label: &str, text: &str, line: u64) -> (String, String, u64) {
    (label.into(), text.into(), line)
}

/// Asserts the exit code and that the message holds each part in this order; `FILE` stands for the path.
fn assert_fails<T>(result: Result<T, Error>, code: u8, path: &Path, parts: &[&str]) {
    let error = result.err().expect("it should fail");
    let message = error.to_string();
    assert_eq!(exit_code(error.kind), code, "{message}");
    assert!(!message.contains('\n'), "{message}");
    let mut rest = message.as_str();
    for part in parts {
        let part = part.replace("FILE", &path.display().to_string());
        let at = rest.find(&part).unwrap_or_else(|| panic!("'{part}' is not in its place in: {message}"));
        rest = &rest[at + part.len()..];
    }
}

fn assert_refused(name: &str, content: impl AsRef<[u8]>, parts: &[&str]) {
    let (_folder, path) = written(name, content);
    assert_fails(read_labelled(&path, &LabelledConfig::default(), None), 65, &path, parts);
}

fn config(train: &Path) -> LabelledConfig {
    LabelledConfig { train: train.display().to_string(), ..Default::default() }
}

/// `ham` and `spam` rows, every fourth spam, no text twice.
fn messages(count: usize) -> Vec<String> {
    let label = |i: usize| if i.is_multiple_of(4) { "spam" } else { "ham" };
    (0..count).map(|i| format!("{}\tmessage number {i}\n", label(i))).collect()
}

#[test]
fn tab_separated_rows_are_taken_as_they_stand() {
    let text = "ham\t\"Hi\" she said\r\n\r\nspam\ta\tb, \"c\n ham \tlast";
    let (_folder, path) = written("x.tsv", text);
    let expected = [row("ham", "\"Hi\" she said", 1), row("spam", "a\tb, \"c", 3), row("ham", "last", 4)];
    assert_eq!(rows_of(&path), expected);
}

#[test]
fn a_header_of_the_two_column_names_gives_the_order() {
    let (_folder, path) = written("x.txt", "\u{feff}text\tlabel\none\ttwo\tham\nthree\tspam\n");
    assert_eq!(rows_of(&path), [row("ham", "one\ttwo", 2), row("spam", "three", 3)]);
    let (_folder, path) = written("x.tsv", "label\ttext\nham\tone\n");
    assert_eq!(rows_of(&path), [row("ham", "one", 2)]);
}

#[test]
fn quoted_fields_hold_line_breaks_commas_and_quotes() {
    let text = "id,label,text\r\n1,ham,\"one,\r\n\"\"two\"\"\"\r\n\r\n\r\n2,spam,three\r\n3,ham,\"four\n\"";
    let (_folder, path) = written("x.csv", text);
    let expected = [row("ham", "one,\n\"two\"", 2), row("spam", "three", 6), row("ham", "four\n", 7)];
    assert_eq!(rows_of(&path), expected);
}

#[test]
fn objects_may_have_labels_that_are_numbers_or_booleans() {
    let text = "{\"text\": \"a\\nb\", \"label\": 1, \"more\": [1]}\n\n{\"label\": true, \"text\": \"c\"}\n";
    let (_folder, path) = written("x.jsonl", text);
    assert_eq!(rows_of(&path), [row("1", "a\nb", 1), row("true", "c", 3)]);
}

#[test]
fn labels_are_sorted_by_number_if_all_are_numbers() {
    let names = |text: &str| {
        let (_folder, path) = written("x.tsv", text);
        read_labelled(&path, &LabelledConfig::default(), None).unwrap().label_names
    };
    assert_eq!(names("10\ta\n9\tb\n-1\tc\n"), ["-1", "9", "10"]);
    assert_eq!(names("10\ta\n9\tb\nx\tc\n"), ["10", "9", "x"]);
}

#[test]
fn labels_that_look_the_same_are_refused_and_others_that_are_alike_are_warned_of() {
    for (a, b) in [("caf\u{e9}", "cafe\u{301}"), ("spam", "sp\u{200b}am"), ("not spam", "not\u{a0}spam")] {
        let parts = [
            "FILE: labels '",
            "(2 rows, first on line 1) and '",
            "\\u{",
            "(1 rows, first on line 3)",
            "alike",
        ];
        let parts: Vec<&str> = parts.into_iter().filter(|part| *part != "\\u{" || a.is_ascii()).collect();
        assert_refused("x.tsv", format!("{a}\tone\n{a}\ttwo\n{b}\tthree\n"), &parts);
    }
    let warnings = |text: &str| {
        let (_folder, path) = written("x.tsv", text);
        read_labelled(&path, &LabelledConfig::default(), None).unwrap().warnings
    };
    let found = warnings("1\ta\n1.0\tb\n01\tc\nspam\td\nSpam\te\n");
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found[0].contains("'1' (1 rows, first on line 1) and '1.0' (1 rows, first on line 2) are one number")
    );
    assert!(
        found[2].contains("'spam' (1 rows, first on line 4) and 'Spam'") && found[2].contains("case alone")
    );
    assert_eq!(warnings("1\ta\n2\tb\n10\tc\nnot spam\td\nspam\te\n"), [""; 0]);
}

#[test]
fn texts_that_look_the_same_are_one() {
    let mut rows = messages(200);
    rows.extend(["ham\tmessage num\u{200b}ber 1\n".into(), "ham\tcaf\u{e9} at six\n".into()]);
    rows.push("ham\tcafe\u{301} at six\n".into());
    let (_folder, path) = written("x.tsv", rows.concat());
    let split = LabelledSplit::load(&config(&path)).unwrap();
    assert_eq!((split.duplicates_dropped, split.contradictions), (2, 0));
}

#[test]
fn a_class_without_rows_has_no_line() {
    let (_folder, path) = written("x.tsv", messages(100).concat());
    let label_names = ["ham", "spam", "other"].map(str::to_string).to_vec();
    let split = LabelledSplit::load(&LabelledConfig { label_names, ..config(&path) });
    assert_fails(split, 65, &path, &["FILE: class 'other' has 0 distinct training rows"]);
}

#[test]
fn known_labels_keep_their_order_and_others_are_refused() {
    let known = ["spam".to_string(), "ham".to_string()];
    let (_folder, path) = written("x.tsv", "ham\ta\nspam\tb\n");
    let read = read_labelled(&path, &LabelledConfig::default(), Some(&known)).unwrap();
    assert_eq!(read.label_names, known);
    assert_eq!(read.examples.iter().map(|row| row.label).collect::<Vec<_>>(), [1, 0]);

    let (_folder, path) = written("x.tsv", "ham\ta\nspma\tb\n");
    let read = read_labelled(&path, &LabelledConfig::default(), Some(&known));
    assert_fails(read, 65, &path, &["FILE:2: unknown label 'spma', known: 'spam', 'ham'"]);
}

#[test]
fn the_first_three_bad_rows_are_shown_and_all_are_counted() {
    let text = "ham\ta\nham b\nham\t \n\tc\nnan\td\nNaN\te\n";
    assert_refused(
        "x.tsv",
        text,
        &[
            "FILE:2: no tab between label and text; ",
            "FILE:3: the text is empty; ",
            "FILE:4: the label is empty; bad rows: 5 of 6",
        ],
    );
    assert_refused("x.tsv", "ham\ta\nNaN\tb\n", &["FILE:2: the label is NaN; bad rows: 1 of 2"]);
}

#[test]
fn a_table_with_wrong_columns_is_refused() {
    let refused = |text: &str, parts: &[&str]| assert_refused("x.csv", text, parts);
    refused("v1,v2,,\nham,a,,\n", &["FILE:1: no column 'text', found: 'v1', 'v2'", "set data.text_column"]);
    refused("text,class\na,ham\n", &["FILE:1: no column 'label'", "set data.label_column"]);
    refused("label,text,text\nham,a,b\n", &["FILE:1: column 'text' is there twice"]);
    let rows = "label,text\nham,a\nham,b,c\n\nspam\n\"sp\nam\",d\n";
    refused(
        rows,
        &["FILE:3: 3 fields, the header has 2; ", "FILE:5: 1 fields, the header has 2; bad rows: 2 of 4"],
    );
}

#[test]
fn an_open_quote_is_found_where_it_opens() {
    for end in ["", "\n", "\n\n"] {
        let text = format!("label,text\nham,a\nspam,\"b\nham,c{end}");
        assert_refused("x.csv", text, &["FILE:3: a quote opens in this row and is never closed"]);
    }
}

#[test]
fn endless_rows_stop_early() {
    let long = "a".repeat((16 << 20) + (2 << 20));
    assert_refused("x.tsv", format!("ham\tb\nham\t{long}"), &["FILE:2: the row is longer than 16 MiB"]);
    assert_refused(
        "x.csv",
        format!("label,text\nham,b\nham,{long}"),
        &["FILE:3: the row is longer than 16 MiB"],
    );
    let rows = format!("label,text\nham,\"b\n{}", "ham,c\n".repeat(3 << 20));
    assert_refused("x.csv", rows, &["FILE:2: the row is longer than 16 MiB"]);
    let rows = format!("label,text\n{}", format!("ham,{}\n", "text".repeat(30)).repeat(200_000));
    let (_folder, path) = written("x.csv", rows);
    let read = read_labelled(&path, &LabelledConfig::default(), None).unwrap();
    assert_eq!(read.examples.len(), 200_000, "the limit is for one row, not for the file");
}

#[test]
fn damaged_objects_are_refused_with_line_and_column() {
    let refused = |line: &str, parts: &[&str]| {
        assert_refused("x.jsonl", format!("{{\"text\":\"a\",\"label\":\"b\"}}\n{line}"), parts);
    };
    refused("{\"text\":\"a\",\"label\":", &["FILE:2:20: EOF while parsing"]);
    refused("{\"text\":\"a\" \"label\":1}", &["FILE:2:13: expected `,` or `}`"]);
    refused("{\"text\":\"a\",\"kind\":1}", &["FILE:2:1: no key 'label', found: 'kind', 'text'"]);
    refused("{\"text\":1,\"label\":1}", &["FILE:2:1: 'text' is a number, expected a string"]);
    refused("{\"text\":\"a\",\"label\":null}", &["FILE:2:1: 'label' is null, expected a string, number or"]);
    refused("{\"text\":\"a\",\"label\":1,\"text\":\"b\"}", &["FILE:2:", "key 'text' is there twice"]);
    refused("[1]", &["FILE:2:", "expected one object a line"]);
    refused("{\"text\":\"a\",\"label\":1} {}", &["FILE:2:24: trailing characters"]);
    let half = "{\"text\":\"a \\ud83d b\",\"label\":1}";
    refused(half, &["FILE:2:12: \\ud83d is half a surrogate pair", "data.lossy = true"]);
    refused(&"[".repeat(1 << 20), &["FILE:2:", "bad rows: 1 of 2"]);
    refused(&format!("{{\"text\":{}", "[".repeat(1 << 20)), &["FILE:2:", "recursion limit exceeded"]);
}

#[test]
fn other_encodings_are_named_with_the_byte() {
    for name in ["x.tsv", "x.csv", "x.jsonl"] {
        let latin1 = b"label,text\nham\tcaf\xe9\n";
        assert_refused(name, latin1, &["FILE:2 (byte 18): not UTF-8 text", "Latin-1", "data.lossy = true"]);
        assert_refused(name, b"\xff\xfeh\0a\0m\0", &["FILE:1 (byte ", "UTF-16"]);
    }
    let lossy = LabelledConfig { lossy: true, ..Default::default() };
    let (_folder, path) = written("x.csv", b"label,text\nham,caf\xe9\0\n\0\n");
    let read = read_labelled(&path, &lossy, None);
    assert_fails(read, 65, &path, &["FILE:3: 1 fields, the header has 2; bad rows: 1 of 2"]);
    let (_folder, path) = written("x.jsonl", r#"{"text":"a \ud83d b \ud83d\ude00","label":1}"#);
    assert_eq!(read_labelled(&path, &lossy, None).unwrap().examples[0].text, "a \u{fffd} b \u{1f600}");
    let (_folder, path) = written("x.csv", b"label,text\nham,caf\xe9\0\n");
    let read = read_labelled(&path, &lossy, None).unwrap();
    assert_eq!(read.examples[0].text, "caf\u{fffd}\u{fffd}");
}

#[test]
fn what_is_no_file_or_has_no_rows_is_refused() {
    for (name, text) in [("x.tsv", ""), ("x.csv", ""), ("x.csv", "label,text\n"), ("x.jsonl", "\n")] {
        assert_refused(name, text, &["FILE has no rows"]);
    }
    let (folder, path) = written("x.bin", "PAR1");
    let read = |path: &Path| read_labelled(path, &LabelledConfig::default(), None);
    assert_fails(read(&path), 2, &path, &["FILE", "data.format"]);
    let missing = folder.path().join("none.tsv");
    assert_fails(read(&missing), 66, &missing, &["FILE", "check the path"]);
    let sub_folder = folder.path().join("folder.tsv");
    std::fs::create_dir(&sub_folder).unwrap();
    assert_fails(read(&sub_folder), 66, &sub_folder, &["FILE", "a folder"]);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_instead_of_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tsv");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let read = read_labelled(&path, &LabelledConfig::default(), None);
    assert_fails(read, 66, &path, &["FILE", "not a regular file"]);
}

#[test]
fn texts_to_predict_on_need_no_labels() {
    let texts = |name: &str, text: &str| {
        let (_folder, path) = written(name, text);
        read_texts(&path, &LabelledConfig::default()).unwrap()
    };
    assert_eq!(texts("x.txt", "one\ttwo\n\nthree"), ["one\ttwo", "three"]);
    assert_eq!(texts("x.tsv", "ham\tone\ntwo\n"), ["one", "two"]);
    assert_eq!(texts("x.csv", "id,text\n1,one\n"), ["one"]);
    assert_eq!(texts("x.jsonl", "{\"text\":\"one\"}\n"), ["one"]);
}

#[test]
fn a_config_that_cannot_work_is_refused() {
    let default = LabelledConfig { train: "x.tsv".into(), ..Default::default() };
    for (config, part) in [
        (LabelledConfig { train: String::new(), ..default.clone() }, "data.train is empty"),
        (LabelledConfig { label_column: "text".into(), ..default.clone() }, "data.label_column"),
        (LabelledConfig { test_fraction: 0.0, ..default.clone() }, "data.test_fraction is 0"),
        (
            LabelledConfig { validation_fraction: f64::NAN, ..default.clone() },
            "data.validation_fraction is NaN",
        ),
        (LabelledConfig { validation_fraction: 0.8, ..default.clone() }, "nothing to train on"),
    ] {
        assert_fails(config.check(), 2, Path::new(""), &[part]);
    }
    let own_parts =
        LabelledConfig { validation: "v".into(), test: "t".into(), test_fraction: 2.0, ..default };
    own_parts.check().unwrap();
    LabelledConfig::default().check().unwrap();
}

#[test]
fn the_parts_of_one_file_share_no_text_and_lose_no_row() {
    let mut rows = messages(1000);
    rows.extend(["ham\tMessage  NUMBER 1 \n".into(), "ham\tmessage number 4\n".into()]);
    let (_folder, path) = written("x.tsv", rows.concat());
    let split = LabelledSplit::load(&config(&path)).unwrap();
    assert_eq!((split.duplicates_dropped, split.contradictions, split.leaked_dropped), (1, 1, 0));
    let all = split.train.iter().chain(&split.validation).chain(&split.test);
    let texts: HashSet<&str> = all.map(|row| row.text.as_str()).collect();
    let counts = [split.train.len(), split.validation.len(), split.test.len()];
    assert_eq!(counts.iter().sum::<usize>(), 1000);
    assert_eq!(texts.len(), 1000);
    // Four standard deviations of a binomial count.
    assert!(counts[1].abs_diff(100) < 38 && counts[2].abs_diff(200) < 51, "{counts:?}");
    assert_eq!((&split.label_names[split.positive][..], split.positive_leads), ("spam", true));
}

#[test]
fn the_order_of_rows_decides_nothing() {
    let mut rows = messages(300);
    let parts = |rows: &[String]| {
        let (_folder, path) = written("x.tsv", rows.concat());
        let split = LabelledSplit::load(&LabelledConfig { label_budget: 20, ..config(&path) }).unwrap();
        let texts =
            |rows: Vec<train::data::Example>| rows.into_iter().map(|row| row.text).collect::<Vec<_>>();
        [texts(split.train), texts(split.validation), texts(split.test)]
    };
    let before = parts(&rows);
    rows.reverse();
    rows.swap(3, 200);
    assert_eq!(parts(&rows), before);
}

#[test]
fn rows_of_held_out_files_leave_training() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, rows: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, rows).unwrap();
        path.display().to_string()
    };
    let config = LabelledConfig {
        train: write("train.tsv", &messages(40).concat()),
        validation: write("v.tsv", "ham\tMESSAGE number 1\nham\tonly here\nspam\tin both\nham\tonly here\n"),
        test: write("t.csv", "label,text\nspam,message number 4\nspam,in both\n"),
        ..Default::default()
    };
    let split = LabelledSplit::load(&config).unwrap();
    assert_eq!([split.train.len(), split.validation.len(), split.test.len()], [38, 3, 2]);
    assert_eq!((split.leaked_dropped, split.duplicates_dropped), (3, 0));

    let even = "no\ta\nno\tb\nyes\tc\nyes\td\n";
    let even = LabelledConfig {
        train: write("even.tsv", even),
        validation: write("even_v.tsv", "no\te\n"),
        test: write("even_t.tsv", "yes\tf\n"),
        ..Default::default()
    };
    let of_even = LabelledSplit::load(&even).unwrap();
    assert_eq!((of_even.positive, of_even.positive_leads), (1, false), "of equally rare labels the last");
    let named = LabelledConfig { positive_label: "no".into(), ..even };
    let of_named = LabelledSplit::load(&named).unwrap();
    assert_eq!((of_named.positive, of_named.positive_leads), (0, true));

    let unknown = LabelledConfig { validation: write("v.tsv", "ham\ta\nmail\tb\n"), ..config };
    let path = PathBuf::from(&unknown.validation);
    let parts = ["FILE:2: unknown label 'mail', known: 'ham', 'spam'"];
    assert_fails(LabelledSplit::load(&unknown), 65, &path, &parts);
}

#[test]
fn classes_too_small_to_learn_are_refused_with_their_counts() {
    let refused = |text: String, code: u8, parts: &[&str]| {
        let (_folder, path) = written("x.tsv", text);
        assert_fails(LabelledSplit::load(&config(&path)), code, &path, parts);
    };
    refused("\nham\ta\nham\tb\n".into(), 65, &["FILE has only one class, 'ham' (2 rows)"]);
    let lone = "rare\tthis once\nrare\tThis  ONCE\n";
    let parts = ["FILE:2: class 'rare' has", "rows per class: 'rare' ", ", 'spam' ", ", 'ham' "];
    refused(messages(1).concat() + lone + &messages(100)[1..].concat(), 65, &parts);
    refused("ham\ta\nham\tb\nspam\tc\nspam\td\n".into(), 65, &["FILE", "rows"]);
}

#[test]
fn keys_that_do_not_fit_the_data_are_refused() {
    let (_folder, path) = written("x.tsv", messages(100).concat());
    let load = |change: &dyn Fn(&mut LabelledConfig)| {
        let mut config = config(&path);
        change(&mut config);
        LabelledSplit::load(&config)
    };
    let rows = load(&|_| ()).unwrap().train.len();
    let range = format!("must lie in 2..={rows}");
    assert_fails(load(&|c| c.label_budget = 1), 2, &path, &["data.label_budget is 1", "2 classes", &range]);
    assert_fails(load(&|c| c.label_budget = rows + 1), 2, &path, &["data.label_budget", &range]);
    assert_eq!(load(&|c| c.label_budget = rows).unwrap().train.len(), rows);
    let unknown = load(&|c| c.positive_label = "junk".into());
    assert_fails(unknown, 2, &path, &["data.positive_label 'junk'", "'ham', 'spam'"]);
    assert_eq!(load(&|c| c.positive_label = "ham".into()).unwrap().positive, 0);
}

#[test]
fn the_fingerprint_follows_content_and_split() {
    let (_folder, path) = written("x.tsv", messages(100).concat());
    let (_other_folder, same) = written("y.tsv", messages(100).concat());
    let (_third_folder, longer) = written("x.tsv", messages(101).concat());
    let sha256 = |config: LabelledConfig| LabelledSplit::load(&config).unwrap().sha256;
    let first = sha256(config(&path));
    assert_eq!(first.len(), 64);
    assert_eq!(sha256(config(&same)), first);
    assert_eq!(sha256(LabelledConfig { positive_label: "ham".into(), ..config(&path) }), first);
    assert_ne!(sha256(config(&longer)), first);
    assert_ne!(sha256(LabelledConfig { test_fraction: 0.3, ..config(&path) }), first);
    assert_ne!(sha256(LabelledConfig { label_budget: 10, ..config(&path) }), first);
    assert_ne!(sha256(LabelledConfig { format: RowFormat::Tsv, ..config(&path) }), first);
}

#[test]
fn the_data_inside_the_program_is_clean() {
    let split = LabelledSplit::load(&LabelledConfig::default()).unwrap();
    assert_eq!(split.label_names, ["ham", "spam"]);
    assert_eq!(split.label_names[split.positive], "spam");
    assert_eq!((split.duplicates_dropped, split.contradictions, split.leaked_dropped), (0, 0, 0));
}

#[test]
fn sms_spam_is_read_whole() {
    let Some(folder) = sms_spam() else { return };
    let path = folder.join("SMSSpamCollection.tsv");
    let rows = rows_of(&path);
    assert_eq!(rows.len(), 5574);
    assert_eq!(rows.iter().filter(|(label, _, _)| label == "spam").count(), 747);
    assert_eq!(rows.iter().filter(|(_, text, _)| text.contains('"')).count(), 145);
    let split = LabelledSplit::load(&config(&path)).unwrap();
    assert_eq!((split.duplicates_dropped, split.contradictions, split.leaked_dropped), (415, 0, 0));
    assert_eq!(split.train.len() + split.validation.len() + split.test.len(), 5159);
}

proptest! {
    #[test]
    fn no_bytes_crash_the_reader(bytes: Vec<u8>, lossy: bool, format in 0..3usize) {
        let (_folder, path) = written(["x.tsv", "x.csv", "x.jsonl"][format], bytes);
        let config = LabelledConfig { lossy, ..Default::default() };
        let _ = read_labelled(&path, &config, None);
        let _ = read_texts(&path, &config);
    }
}
