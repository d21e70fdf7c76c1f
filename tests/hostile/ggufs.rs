//! GGUF files made by hand: each says something that it does not hold.

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value;
use candle_core::{Device, Tensor};
use train::ErrorKind;
use train::internals::hf_folder;

use super::formats::small_gguf::SmallGguf;

fn small() -> SmallGguf {
    SmallGguf::llama(32, GgmlDType::Q8_0)
}

/// What is said about the file.
fn refused(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gguf");
    std::fs::write(&path, bytes).unwrap();
    let error = hf_folder::load(&path).err().expect("the file was taken");
    assert_eq!(error.kind, ErrorKind::BadData, "{error}");
    error.to_string()
}

/// Overwrites what stands so many bytes after the first place of `name`.
fn after(name: &str, distance: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = small().bytes();
    let at = bytes.windows(name.len()).position(|window| window == name.as_bytes()).unwrap();
    let at = at + name.len() + distance;
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

#[test]
fn a_length_that_the_file_does_not_hold_is_not_believed() {
    let huge = (u64::MAX / 3).to_le_bytes();
    let mut bytes = small().bytes();
    for (at, what) in [(8, "tensors"), (16, "keys"), (24, "the first key's name")] {
        let mut bytes = bytes.clone();
        bytes[at..at + 8].copy_from_slice(&huge);
        let said = refused(&bytes);
        assert!(said.contains("is damaged") && said.len() < 300, "{what}: {said}");
    }
    // After a list's name its kind, the kind of its elements, their number; after a text's its kind and length.
    for (name, distance) in [("ggml.tokens", 8), ("ggml.token_type", 8), ("ggml.merges", 8), ("ggml.pre", 4)]
    {
        let said = refused(&after(name, distance, &huge));
        assert!(said.contains("which it does not hold"), "{name}: {said}");
    }
    // After a tensor's name: number of sizes, the sizes, kind, offset.
    let name = "token_embd.weight";
    for (distance, new, expected) in [
        (0, &[9, 0, 0, 0][..], "has 9 dimensions"),
        (0, &[0; 4], "has 0 dimensions"),
        (4, &huge, "impossible shape"),
        (4, &[33, 0, 0, 0, 0, 0, 0, 0], "impossible shape"),
        (4, &[0; 8], "impossible shape"),
        (12, &huge, "impossible shape"),
        (12, &(1_u64 << 40).to_le_bytes(), "needs "),
        (20, &[99, 0, 0, 0], "ggml's type 99"),
        (24, &huge, "where 0 is next"),
        (24, &[64, 0, 0, 0, 0, 0, 0, 0], "where 0 is next"),
    ] {
        let said = refused(&after(name, distance, new));
        assert!(said.contains(expected), "{distance} {new:?}: {said}");
    }
    bytes[4] = 1;
    assert!(refused(&bytes).contains("GGUF version 1"));
    bytes[0] = b'X';
    assert!(refused(&bytes).contains("does not begin with GGUF"));
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_refused() {
    let bytes = small().bytes();
    // Every length of the beginning of each part, then some of the tensors.
    for length in (0..300).chain((300..bytes.len()).step_by(997)).chain([bytes.len() - 32]) {
        refused(&bytes[..length]);
    }
}

#[test]
fn a_name_that_is_there_twice_is_refused() {
    let mut twice = small();
    twice.keys.push(("tokenizer.ggml.pre".into(), Value::String("smollm".into())));
    assert!(refused(&twice.bytes()).contains("key tokenizer.ggml.pre is in it twice"));
    let mut twice = small();
    twice.add("output_norm.weight", &[32], GgmlDType::F32);
    assert!(refused(&twice.bytes()).contains("tensor output_norm.weight is in it twice"));
}

#[test]
fn numbers_that_cannot_be_computed_with_are_refused() {
    for (value, expected) in
        [(f32::NAN, "NaN at index 3"), (f32::NEG_INFINITY, "-inf at index 3"), (1e30, "too large")]
    {
        let mut file = small();
        let mut values = vec![1.0_f32; 32];
        values[3] = value;
        file.tensors.retain(|(name, _)| name != "output_norm.weight");
        let values = Tensor::from_vec(values, 32, &Device::Cpu).unwrap();
        file.add_values("output_norm.weight", &values, GgmlDType::F32);
        let said = refused(&file.bytes());
        assert!(said.contains(expected), "{said}");
    }
    // The scale of a block of q8_0 is a NaN of f16.
    let mut bytes = small().bytes();
    let data = bytes.len()
        - small()
            .tensors
            .iter()
            .map(|(_, tensor)| tensor.storage_size_in_bytes().next_multiple_of(32))
            .sum::<usize>();
    bytes[data..data + 2].copy_from_slice(&0x7e00_u16.to_le_bytes());
    assert!(refused(&bytes).contains("tensor token_embd.weight holds NaN at index 0"));
}

#[test]
fn an_alignment_that_is_none_is_refused() {
    for alignment in [0, 3, 1 << 20] {
        let mut file = small();
        file.set("general.alignment", Value::U32(alignment));
        assert!(refused(&file.bytes()).contains("general.alignment is"));
    }
}
