//! The same rows from every format and compression, and what is said about damaged ones.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;
use train::Error;
use train::data::{
    Corpus, CorpusConfig, DocumentBoundary, LabelledConfig, LabelledSplit, read_labelled, read_texts,
};
use train::internals::exit_code;

use crate::support::Folder;

const TEXTS: [&str; 5] =
    ["are you there", "win a prize now", "see you, at \"eight\"", "ünï £5", "free entry"];
const LABELS: [i64; 5] = [0, 1, 0, 0, 1];

/// What the datasets library stores beside the columns.
const CLASSES: &str = r#"{"info":{"features":{"sms":{"dtype":"string"},"label":{"names":["ham","spam"],"_type":"ClassLabel"}}}}"#;

struct Table<'a> {
    texts: Vec<Option<&'a str>>,
    labels: Vec<i64>,
    compression: Compression,
    classes: Option<&'a str>,
}

impl Default for Table<'_> {
    fn default() -> Self {
        let (texts, labels) = (TEXTS.map(Some).to_vec(), LABELS.to_vec());
        Self { texts, labels, compression: Compression::UNCOMPRESSED, classes: None }
    }
}

impl Table<'_> {
    /// A file with the columns weight, sms and label, in row groups of two.
    fn bytes(&self) -> Vec<u8> {
        let schema =
            "message schema { required double weight; optional binary sms (UTF8); required int64 label; }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let classes =
            self.classes.map(|text| vec![KeyValue::new("huggingface".to_string(), text.to_string())]);
        let properties = WriterProperties::builder()
            .set_compression(self.compression)
            .set_key_value_metadata(classes)
            .build();
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
        for (texts, labels) in self.texts.chunks(2).zip(self.labels.chunks(2)) {
            let mut group = writer.next_row_group().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<DoubleType>().write_batch(&vec![0.5; labels.len()], None, None).unwrap();
            column.close().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            let there: Vec<i16> = texts.iter().map(|text| i16::from(text.is_some())).collect();
            let values: Vec<ByteArray> = texts.iter().flatten().map(|text| ByteArray::from(*text)).collect();
            column.typed::<ByteArrayType>().write_batch(&values, Some(&there), None).unwrap();
            column.close().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<Int64Type>().write_batch(labels, None, None).unwrap();
            column.close().unwrap();
            group.close().unwrap();
        }
        writer.into_inner().unwrap()
    }
}

fn written(name: &str, bytes: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn columns() -> LabelledConfig {
    LabelledConfig { text_column: "sms".into(), ..Default::default() }
}

/// (label, text) of each row.
fn rows(path: &Path, config: &LabelledConfig) -> Result<Vec<(String, String)>, Error> {
    let read = read_labelled(path, config, None)?;
    let name = |label: u32| read.label_names[label as usize].clone();
    Ok(read.examples.iter().map(|row| (name(row.label), row.text.clone())).collect())
}

fn expected(names: [&str; 2]) -> Vec<(String, String)> {
    let row = |(text, label): (&&str, &i64)| (names[*label as usize].to_string(), text.to_string());
    TEXTS.iter().zip(&LABELS).map(row).collect()
}

fn assert_refused(path: &Path, config: &LabelledConfig, parts: &[&str]) {
    let error = rows(path, config).unwrap_err();
    assert_eq!(exit_code(error.kind), 65, "{error}");
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()), "{text}");
    parts.iter().for_each(|part| assert!(text.contains(part), "no '{part}' in {text}"));
}

#[test]
fn parquet_gives_its_rows_in_every_compression() {
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let gzip = Compression::GZIP(GzipLevel::default());
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY, gzip, zstd] {
        let table = Table { compression, ..Default::default() };
        let (_folder, path) = written("x.parquet", table.bytes());
        assert_eq!(rows(&path, &columns()).unwrap(), expected(["0", "1"]));
        assert_eq!(read_texts(&path, &columns()).unwrap(), TEXTS);
    }
}

#[test]
fn class_labels_get_their_names_from_the_file_or_the_config() {
    let (_folder, path) =
        written("x.parquet", Table { classes: Some(CLASSES), ..Default::default() }.bytes());
    assert_eq!(rows(&path, &columns()).unwrap(), expected(["ham", "spam"]));
    let named = |names: &[&str]| LabelledConfig {
        label_names: names.iter().map(|name| name.to_string()).collect(),
        ..columns()
    };
    assert_eq!(rows(&path, &named(&["good", "bad"])).unwrap(), expected(["good", "bad"]));
    assert_refused(&path, &named(&["good"]), &["label 1 has no name", "'good'", "bad rows: 2 of 5"]);
    let (_folder, path) = written("x.jsonl", "{\"sms\":\"a\",\"label\":1}\n{\"sms\":\"b\",\"label\":0}\n");
    let read = read_labelled(&path, &named(&["good", "bad"]), None).unwrap();
    assert_eq!(read.label_names, ["good", "bad"]);
    assert_eq!(read.examples.iter().map(|row| row.label).collect::<Vec<_>>(), [1, 0]);
}

/// Names as of yelp_polarity.
const DIGITS: &str = r#"{"info":{"features":{"label":{"names":["1","2"],"_type":"ClassLabel"}}}}"#;

#[test]
fn names_that_are_digits_are_told_from_the_numbers_they_name() {
    let (_folder, path) = written("x.parquet", Table { classes: Some(DIGITS), ..Default::default() }.bytes());
    assert_eq!(rows(&path, &columns()).unwrap(), expected(["1", "2"]));
    let named = LabelledConfig { label_names: vec!["1".into(), "2".into()], ..columns() };
    let read = |name: &str, text: &str| {
        let (_folder, path) = written(name, text);
        rows(&path, &named).map(|rows| rows.into_iter().map(|(label, _)| label).collect::<Vec<_>>())
    };
    // Text is decided for the column as a whole: numbers, unless all of it are names.
    assert_eq!(read("x.tsv", "0\ta\n1\tb\n").unwrap(), ["1", "2"]);
    assert_eq!(read("x.tsv", "1\ta\n2\tb\n").unwrap(), ["1", "2"]);
    assert_eq!(read("x.csv", "sms,label\na,0\nb,1\n").unwrap(), ["1", "2"]);
    // What JSON writes as a number is a number.
    let json = |label: &str| format!("{{\"sms\":\"a\",\"label\":{label}}}\n");
    assert_eq!(read("x.jsonl", &[json("1"), json("1")].concat()).unwrap(), ["2", "2"]);
    assert_eq!(read("x.jsonl", &[json("\"1\""), json("\"2\"")].concat()).unwrap(), ["1", "2"]);
    let (_folder, train) =
        written("x.tsv", (0..100).map(|i| format!("{}\tmessage {i}\n", i % 2)).collect::<String>());
    let (_folder, test) = written("t.tsv", "1\tone more\n");
    let path = |path: &Path| path.display().to_string();
    let split = LabelledConfig { train: path(&train), test: path(&test), ..named.clone() };
    let split = LabelledSplit::load(&split).unwrap();
    assert_eq!(split.test[0].label, 1, "a file is read as the one that is trained on");
    let error = read("x.tsv", "1\ta\n2\tb\n3\tc\n").unwrap_err();
    assert!(error.to_string().contains("x.tsv:2: label 2 has no name"), "{error}");
}

#[test]
fn a_compression_that_is_not_read_is_named_with_what_is() {
    // The writer here cannot make such pages, so the codec in the footer of a file of another is changed: field 4 of a
    // column's metadata, of which the value follows its header 0x15, twice the number.
    let bytes = Table { compression: Compression::SNAPPY, ..Default::default() }.bytes();
    let footer =
        bytes.len() - 8 - u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap()) as usize;
    for (codec, name) in [(4_u8, "BROTLI"), (5, "LZ4"), (7, "LZ4_RAW")] {
        let mut bytes = bytes.clone();
        let ends = [&b"weight"[..], b"sms", b"label"];
        for end in ends {
            let places: Vec<usize> =
                (footer..bytes.len() - end.len() - 2).filter(|at| bytes[*at..].starts_with(end)).collect();
            for at in places {
                let at = at + end.len();
                if bytes[at..at + 2] == [0x15, 2] {
                    bytes[at + 1] = 2 * codec;
                }
            }
        }
        let (_folder, path) = written("x.parquet", &bytes);
        assert_refused(
            &path,
            &columns(),
            &[&format!("compressed by {name}"), "snappy, gzip, zstd", "df.to_parquet"],
        );
    }
}

#[test]
fn bad_parquet_rows_are_named_by_row_and_column() {
    let texts = vec![Some("a"), Some("b"), None, Some(" "), Some("c")];
    let (_folder, path) = written("x.parquet", Table { texts, ..Default::default() }.bytes());
    assert_refused(&path, &columns(), &[":row 3, column 'sms': null, expected a string", "bad rows: 2 of 5"]);
    let (_folder, path) = written("x.parquet", Table::default().bytes());
    assert_refused(&path, &LabelledConfig::default(), &["no column 'text'", "'weight', 'sms', 'label'"]);
    let other = LabelledConfig { label_column: "weight".into(), ..columns() };
    assert_refused(&path, &other, &["row 1, column 'weight': a fraction"]);
    let (_folder, path) = written("x.parquet", "PAR1 not really PAR1");
    assert_refused(&path, &columns(), &["the Parquet file cannot be read"]);
    let whole = Table::default().bytes();
    let (_folder, path) = written("x.parquet", &whole[..whole.len() - 9]);
    assert_refused(&path, &columns(), &["the Parquet file cannot be read"]);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

/// The rows as TSV, CSV and JSON Lines.
fn text_forms() -> [(&'static str, String); 3] {
    let rows = || TEXTS.iter().zip(&LABELS);
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let json =
        |(sms, label): (&&str, &i64)| serde_json::json!({"sms": sms, "label": label}).to_string() + "\n";
    let csv: String = rows().map(|(text, label)| format!("{label},{}\n", quoted(text))).collect();
    [
        ("tsv", rows().map(|(text, label)| format!("{label}\t{text}\n")).collect()),
        ("csv", format!("label,sms\n{csv}")),
        ("jsonl", rows().map(json).collect()),
    ]
}

#[test]
fn compressed_text_gives_the_same_rows() {
    for (extension, text) in text_forms() {
        for (ending, bytes) in [("gz", gzip(text.as_bytes())), ("zst", zstd(text.as_bytes()))] {
            let (_folder, path) = written(&format!("x.{extension}.{ending}"), &bytes);
            assert_eq!(rows(&path, &columns()).unwrap(), expected(["0", "1"]), "{extension}.{ending}");
            let (_folder, path) = written(&format!("x.{extension}.{ending}"), &bytes[..bytes.len() - 10]);
            assert_refused(&path, &columns(), &["compressed file is damaged or cut short"]);
            let (_folder, path) = written(&format!("x.{extension}.{ending}"), &text);
            assert_refused(&path, &columns(), &["compressed file is damaged or cut short"]);
        }
    }
    // Some tools write one gzip stream behind another.
    let (_folder, path) = written("x.tsv.gz", [gzip(b"a\tone\n"), gzip(b"b\ttwo\n")].concat());
    assert_eq!(rows(&path, &columns()).unwrap().len(), 2);
}

fn documents(config: &CorpusConfig) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    Corpus::open(config)?.for_each(|_, document| {
        found.push(document);
        Ok(())
    })?;
    Ok(found)
}

#[test]
fn a_corpus_may_be_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).unwrap();
        folder.path().join(name).display().to_string()
    };
    let table = Table { texts: TEXTS.map(Some).to_vec(), ..Default::default() };
    let mut files = vec![
        file("x.parquet", &table.bytes()),
        file("x.txt", TEXTS.join("\n").as_bytes()),
        file("x.txt.gz", &gzip(TEXTS.join("\n").as_bytes())),
    ];
    for (extension, text) in text_forms() {
        files.push(file(&format!("x.{extension}"), text.as_bytes()));
        files.push(file(&format!("x.{extension}.zst"), &zstd(text.as_bytes())));
    }
    let config = |path: &String| CorpusConfig {
        train: vec![path.clone()],
        document: DocumentBoundary::Line,
        text_column: "sms".into(),
        ..Default::default()
    };
    for path in &files {
        assert_eq!(documents(&config(path)).unwrap(), TEXTS, "{path}");
    }
    let blank = file("blank.jsonl", b"{\"sms\": \"a\"}\n{\"sms\": \" \"}\n{\"sms\": \"b\"}\n");
    assert_eq!(documents(&config(&blank)).unwrap(), ["a", "b"]);
    let bad = file("bad.jsonl", b"{\"sms\": \"a\"}\n{\"sms\": null}\n");
    let error = documents(&config(&bad)).unwrap_err();
    assert!(exit_code(error.kind) == 65 && error.to_string().contains("bad.jsonl:2:1"), "{error}");
    let other = CorpusConfig { text_column: "text".into(), ..config(&files[0]) };
    let error = documents(&other).unwrap_err();
    assert!(error.to_string().contains("no column 'text'"), "{error}");
}

#[test]
fn the_column_is_part_of_what_a_corpus_is() {
    let (_folder, path) = written("x.jsonl", "{\"a\": \"one\", \"b\": \"two\"}\n");
    let sha256 = |column: &str| {
        let config = CorpusConfig {
            train: vec![path.display().to_string()],
            text_column: column.into(),
            ..Default::default()
        };
        Corpus::open(&config).unwrap().sha256().to_string()
    };
    assert_ne!(sha256("a"), sha256("b"));
}

#[test]
fn a_run_takes_parquet_as_it_takes_text() {
    let folder = Folder::new();
    let rows = folder.text("messages.tsv");
    let rows: Vec<(&str, &str)> = rows.lines().filter_map(|line| line.split_once('\t')).collect();
    let table = Table {
        texts: rows.iter().map(|(_, text)| Some(*text)).collect(),
        labels: rows.iter().map(|(label, _)| i64::from(*label == "spam")).collect(),
        compression: Compression::SNAPPY,
        classes: Some(CLASSES),
    };
    folder.write("messages.parquet", table.bytes());
    let line = "finetune --config finetune.toml --set init_from=scratch --set tokenizer.vocab_size=300";
    folder.run(&format!("{line} --set output_dir=text")).done();
    let columns = "--set data.text_column=sms --set data.train=messages.parquet";
    folder.run(&format!("{line} --set output_dir=parquet {columns}")).done();
    let test = |run: &str| folder.json(&format!("{run}/results.json"))["test"].clone();
    assert_eq!(test("parquet"), test("text"));
    folder.run("evaluate parquet --data messages.parquet").done();
}

proptest! {
    #[test]
    fn no_damage_crashes_the_parquet_reader(at in 0usize..700, byte: u8, cut in 0usize..700) {
        let mut bytes = Table { compression: Compression::SNAPPY, ..Default::default() }.bytes();
        let length = bytes.len();
        bytes[at % length] = byte;
        let (_folder, path) = written("x.parquet", &bytes);
        let _ = rows(&path, &columns());
        let (_folder, path) = written("x.parquet", &bytes[..cut % length]);
        prop_assert!(rows(&path, &columns()).is_err());
    }
}
