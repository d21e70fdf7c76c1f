//! The log of a run as a TensorBoard event file.
//!
//! Layer 0. A record is length, checksum, protocol buffer `Event`, checksum; the few fields written here are
//! encoded by hand. `scripts/check_tensorboard.py` reads a file back with TensorBoard itself.
//! Source: `tensorflow/core/lib/io/record_writer.h` and `tensorflow/core/util/event.proto`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::files;

/// TensorBoard reads any file with `tfevents` in its name.
pub const FILE: &str = "events.out.tfevents.train";
/// What the first record of a file says.
const VERSION: &[u8] = b"brain.Event:2";

/// Adds the numbers of an event to the file in `folder`, which is made if it is not there.
pub fn append(folder: &Path, event: &Map<String, Value>) -> Result<()> {
    let path = folder.join(FILE);
    let now = now();
    let mut bytes = if path.exists() { Vec::new() } else { header(now) };
    bytes.extend(record(&encoded(event, now)));
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        OpenOptions::new().create(true).append(true).open(&path)?.write_all(&bytes)
    };
    write().map_err(|cause| Error::writing(&path, &cause))
}

/// Replaces the file by one with these events alone, as a resumed run needs it; times are counted back from now, `last`
/// seconds after the beginning.
pub fn rewrite(folder: &Path, last: f64, events: impl IntoIterator<Item = Map<String, Value>>) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let start = now() - last;
    let records = events.into_iter().map(|event| record(&encoded(&event, start + elapsed(&event))));
    files::write_atomic_pieces(&folder.join(FILE), std::iter::once(header(start)).chain(records).map(Ok))
}

/// Seconds of training until an event.
pub fn elapsed(event: &Map<String, Value>) -> f64 {
    event.get("elapsed_secs").and_then(Value::as_f64).unwrap_or(0.0)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

fn header(time: f64) -> Vec<u8> {
    let mut event = double(1, time);
    event.extend(field(3, VERSION));
    record(&event)
}

/// `Event { wall_time = 1, step = 2, summary = 5 { value = 1 { tag = 1, simple_value = 2 } } }`.
fn encoded(event: &Map<String, Value>, time: f64) -> Vec<u8> {
    let mut bytes = double(1, time);
    bytes.push(2 << 3);
    bytes.extend(varint(event.get("step").and_then(Value::as_u64).unwrap_or(0)));
    let mut summary = Vec::new();
    for (key, value) in event.iter().filter(|(key, _)| *key != "step") {
        let Some(number) = value.as_f64() else { continue };
        let mut value = field(1, key.as_bytes());
        value.push(2 << 3 | 5);
        value.extend((number as f32).to_le_bytes());
        summary.extend(field(1, &value));
    }
    bytes.extend(field(5, &summary));
    bytes
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let parts: [&[u8]; 4] = [&length, &masked(&length).to_le_bytes(), data, &masked(data).to_le_bytes()];
    parts.concat()
}

/// A length-delimited field.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    bytes.extend(varint(content.len() as u64));
    bytes.extend(content);
    bytes
}

fn double(number: u8, value: f64) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 1];
    bytes.extend(value.to_le_bytes());
    bytes
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// The checksum turned and shifted, so that checksums of data with checksums stay good.
fn masked(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C bit by bit: events are a few hundred bytes, a table would not be felt.
fn crc32c(data: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    !data.iter().fold(!0, |crc: u32, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        // RFC 3720, appendix B.4, and the check value of the CRC catalogue.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn numbers_have_as_many_bytes_as_they_need() {
        assert_eq!(varint(0), [0]);
        assert_eq!(varint(300), [0xac, 0x02]);
        assert_eq!(varint(u64::MAX).len(), 10);
    }

    #[test]
    fn records_follow_each_other_and_a_rewritten_file_has_only_what_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let event = |step: u64| -> Map<String, Value> {
            let event = serde_json::json!({"phase": "pretrain", "step": step, "train_loss": 1.5});
            event.as_object().unwrap().clone()
        };
        let lengths = || -> Vec<usize> {
            let bytes = std::fs::read(folder.path().join(FILE)).unwrap();
            let (mut at, mut lengths) = (0, Vec::new());
            while at < bytes.len() {
                let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
                let data = &bytes[at + 12..at + 12 + length];
                let sum = u32::from_le_bytes(bytes[at + 12 + length..at + 16 + length].try_into().unwrap());
                assert_eq!(sum, masked(data));
                lengths.push(length);
                at += 16 + length;
            }
            lengths
        };
        (1..=3).for_each(|step| append(folder.path(), &event(step)).unwrap());
        let three = lengths();
        // Time, step, and one value of a tag of ten bytes; the phase is no number.
        assert_eq!(three[1..], [9 + 2 + 2 + 2 + 12 + 5; 3]);
        rewrite(folder.path(), 0.0, [event(1)]).unwrap();
        assert_eq!(lengths(), three[..2]);
    }
}
