//! Hostile files: damaged by chance, found by fuzzing, or made by hand. Each is refused in one line, in little memory
//! and time, or it means what it says.

pub mod formats;
mod ggufs;
mod tokenizers;

use std::path::Path;
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};
use proptest::prelude::*;
use rand::Rng;
use train::data::{LabelledConfig, TokenFile, TokenKey, TokenWriter, read_labelled};
use train::internals::{stream, tensor_file};

use self::formats::{ALL, Format};
use crate::support::{Folder, root};

/// Mutations of each format.
const MUTATIONS: u64 = 300;

/// A valid file of `format` with one to four changes, drawn from `number` alone.
fn mutation(format: &Format, number: u64) -> Vec<u8> {
    let mut random = stream(1, format.name, &[number]);
    let mut valid = (format.valid)();
    let mut bytes = valid.swap_remove(random.random_range(0..valid.len()));
    for _ in 0..random.random_range(1..=4) {
        let at = random.random_range(0..=bytes.len());
        let length = random.random_range(0..=(bytes.len() - at).min(64));
        match random.random_range(0..6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            1 if at < bytes.len() => bytes[at] = random.random(),
            2 => drop(bytes.drain(at..at + length)),
            3 => bytes.truncate(at),
            4 => {
                let piece = bytes[at..at + length].repeat(random.random_range(1..4));
                drop(bytes.splice(at..at, piece));
            }
            _ => {
                const PIECES: [&[u8]; 8] =
                    [b"\0", b"\xff\xff\xff\xff", b"9999999999", b"-1", b"\"", b"{[", b"1e999", b"\n\r\n"];
                let piece = PIECES[random.random_range(0..PIECES.len())];
                drop(bytes.splice(at..at, piece.iter().copied()));
            }
        }
    }
    bytes
}

/// Runs a reader; its panic names the input.
fn read(format: &Format, what: &str, bytes: &[u8]) {
    let start = Instant::now();
    let read = std::panic::catch_unwind(|| (format.read)(bytes));
    assert!(read.is_ok(), "{}: {what}: {}", format.name, String::from_utf8_lossy(bytes));
    assert!(start.elapsed() < Duration::from_secs(20), "{}: {what} took {:?}", format.name, start.elapsed());
}

#[test]
fn valid_files_are_read() {
    for format in ALL {
        for bytes in (format.valid)() {
            read(format, "valid", &bytes);
        }
    }
}

macro_rules! damaged {
    ($($name:ident),*) => {$(
        #[test]
        fn $name() {
            let format = formats::named(stringify!($name));
            for number in 0..MUTATIONS {
                read(format, &format!("mutation {number}"), &mutation(format, number));
            }
        }
    )*};
}

/// One test a format, so that they run side by side.
mod damaged_by_chance {
    use super::*;

    damaged!(
        tokenizer,
        config_json,
        safetensors,
        gguf,
        parquet,
        csv,
        tsv,
        jsonl,
        config_toml,
        token_file,
        checkpoint,
        hub_name
    );
}

#[test]
fn what_fuzzing_found_stays_mended() {
    for format in ALL {
        let folder = root().join("tests/corpus").join(format.name);
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            read(format, &path.display().to_string(), &std::fs::read(&path).unwrap());
        }
    }
}

#[test]
fn the_corpus_has_folders_of_known_formats_alone() {
    let folder = root().join("tests/corpus");
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        formats::named(Path::new(&entry.unwrap().file_name()).to_str().unwrap());
    }
}

#[test]
fn a_page_that_counts_more_values_than_it_can_hold_is_refused() {
    let folder = Folder::new();
    let ways = ["beginnings", "endings", "texts"].map(|what| format!("many-lengths-of-{what}"));
    for name in ways.iter().map(String::as_str).chain(["a-dictionary-of-a-billion-values"]) {
        std::fs::copy(root().join("tests/corpus/parquet").join(name), folder.path("x.parquet")).unwrap();
        let parts = ["counts more values than it can hold", "fetch or write it again"];
        folder.run("data inspect x.parquet").fails(65, &parts);
    }
}

#[test]
fn a_page_that_says_it_unpacks_to_far_more_than_it_holds_is_refused() {
    let folder = Folder::new();
    let file = root().join("tests/corpus/parquet/a-page-said-to-hold-128-mib");
    std::fs::copy(file, folder.path("x.parquet")).unwrap();
    let parts = ["says that it unpacks to", "MiB", "fetch or write it again"];
    folder.run("data inspect x.parquet").fails(65, &parts);
}

#[test]
fn a_list_that_is_longer_than_its_file_is_not_counted_through() {
    let folder = Folder::new();
    let file = root().join("tests/corpus/parquet/a-list-of-a-billion-in-a-footer");
    std::fs::copy(file, folder.path("x.parquet")).unwrap();
    folder.run("data inspect x.parquet").fails(65, &["a list says that it has", "elements in"]);
}

#[test]
fn a_compression_that_is_not_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let good = (formats::named("parquet").valid)().remove(0);
    let mut said = (1..good.len()).filter(|at| good[at - 1..=*at] == [0x15, 0]).filter_map(|at| {
        // The codec is a number of the footer that stands behind 0x15; twice four means Brotli.
        let mut bytes = good.clone();
        bytes[at] = 8;
        std::fs::write(&path, bytes).unwrap();
        Some(read_labelled(&path, &LabelledConfig::default(), None).err()?.to_string())
    });
    let named = "column 'text' is compressed by BROTLI; only snappy, gzip, zstd and none are read";
    assert!(said.any(|text| text.contains(named)));
}

#[test]
fn many_unexpected_tensors_are_counted_and_not_listed() {
    let tensor = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
    let found =
        (0..300_000).map(|number| (format!("{number:06}{}", "x".repeat(200)), tensor.clone())).collect();
    let error =
        tensor_file::check_shapes(Path::new("x.safetensors"), &found, &Default::default()).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("x.safetensors: 300000 unexpected tensors: 000000xxx"), "{text}");
    assert!(text.contains(" and 299995 more; ") && text.len() < 600, "{text}");
}

#[test]
fn a_config_json_with_impossible_values_is_refused_by_key() {
    let folder = tempfile::tempdir().unwrap();
    let valid: serde_json::Value =
        serde_json::from_slice(&(formats::named("config_json").valid)()[0]).unwrap();
    for (key, value) in [
        ("rms_norm_eps", serde_json::json!(0.0)),
        ("rms_norm_eps", serde_json::json!(-1.0)),
        ("rope_theta", serde_json::json!(0.0)),
        ("rope_theta", serde_json::json!(-1e308)),
        ("rope_theta", serde_json::json!(1e308)),
        ("initializer_range", serde_json::json!(-1.0)),
        ("vocab_size", serde_json::json!(1_u64 << 40)),
        ("head_dim", serde_json::json!(1_u64 << 40)),
        ("num_hidden_layers", serde_json::json!(1_000_000)),
        ("hidden_size", serde_json::json!(u64::MAX)),
    ] {
        let mut config = valid.clone();
        config.as_object_mut().unwrap().remove("rope_parameters");
        config[key] = value.clone();
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let Err(error) = train::internals::hf_folder::read_config(folder.path()) else {
            panic!("{key} = {value} was taken")
        };
        let text = error.to_string();
        assert_eq!(error.kind, train::ErrorKind::BadData, "{text}");
        assert!(text.contains("config.json: ") && text.contains(key), "{key} = {value}: {text}");
    }
}

/// A text or a label of a file with columns: anything without NUL that is not blank.
fn cell() -> impl Strategy<Value = String> {
    "[^\\x00]{0,20}[a-z][^\\x00]{0,20}"
}

/// The rows of a file with this name, as label and text.
fn rows(name: &str, content: &str) -> Vec<(String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    let read = read_labelled(&path, &LabelledConfig::default(), None).unwrap();
    let named = |label: u32| read.label_names[label as usize].clone();
    read.examples.iter().map(|row| (named(row.label), row.text.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rows_come_back_from_csv_and_json_lines(table in prop::collection::vec(("[a-z]{1,9}", cell()), 1..6)) {
        let quoted = |cell: &str| format!("\"{}\"", cell.replace('"', "\"\""));
        let csv: String = table.iter().map(|(label, text)| format!("{label},{}\n", quoted(text))).collect();
        // Lines end in LF here, whatever they end in there.
        let expected: Vec<_> =
            table.iter().map(|(label, text)| (label.clone(), text.replace("\r\n", "\n"))).collect();
        prop_assert_eq!(rows("x.csv", &format!("label,text\n{csv}")), expected);
        let object = |(label, text): &(String, String)| serde_json::json!({"label": label, "text": text}).to_string();
        let lines: Vec<String> = table.iter().map(object).collect();
        prop_assert_eq!(rows("x.jsonl", &lines.join("\n")), table);
    }

    #[test]
    fn tensors_come_back_bit_for_bit(
        tensors in prop::collection::btree_map(
            "[^\\x00]{0,12}", prop::collection::vec(any::<f32>().prop_filter("finite", |v| v.is_finite()), 0..9), 0..5)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let named = tensors.iter().map(|(name, values)| {
            let tensor = Tensor::from_slice(values, values.len(), &Device::Cpu).unwrap();
            (name.clone(), tensor)
        });
        tensor_file::write(&path, &named.collect()).unwrap();
        let read = tensor_file::read(&path).unwrap();
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(read.len(), tensors.len());
        for (name, values) in &tensors {
            prop_assert_eq!(bits(&read[name].to_vec1::<f32>().unwrap()), bits(values));
        }
    }

    #[test]
    fn ids_come_back_from_token_files(
        documents in prop::collection::vec(prop::collection::vec(0..70_000_u32, 1..9), 1..9)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.tokens");
        let key = TokenKey { data_sha256: "d".repeat(64), tokenizer_sha256: "e".repeat(64) };
        let mut writer = TokenWriter::create(&path, 70_000).unwrap();
        documents.iter().for_each(|ids| writer.push(ids, ids.len()).unwrap());
        writer.finish(&key).unwrap();
        let file = TokenFile::open(&path, &key, 70_000).unwrap();
        prop_assert_eq!((file.counts.tokens as usize, file.counts.documents as usize), (documents.concat().len(), documents.len()));
        prop_assert_eq!(file.ids(0, 1000).unwrap(), documents.concat());
    }
}
