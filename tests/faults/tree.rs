//! What a command leaves behind, file by file, without what two runs never share: times and speeds.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::support::Folder;

/// Names of files with what they hold.
pub type Tree = BTreeMap<String, Vec<u8>>;

/// All files below these.
pub fn tree(folder: &Folder, results: &[&str]) -> Tree {
    let mut found = Tree::new();
    for result in results {
        collect(folder, result, &mut found);
    }
    found
}

fn collect(folder: &Folder, name: &str, found: &mut Tree) {
    let path = folder.path(name);
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            collect(folder, &format!("{name}/{}", entry.unwrap().file_name().to_str().unwrap()), found);
        }
    } else if path.exists() && !name.ends_with(".lock") {
        found.insert(name.into(), lasting(&path));
    }
}

fn lasting(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    let json = |text: &[u8]| serde_json::from_slice(text).map(|value| without_times(value).to_string());
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => json(&bytes).map_or(bytes, String::into_bytes),
        Some("jsonl") => {
            let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            lines.flat_map(|line| json(line).map_or(line.to_vec(), String::into_bytes)).collect()
        }
        // Pages and event files show times.
        Some("html" | "md" | "train") => Vec::new(),
        _ => bytes,
    }
}

/// Beside seconds: what goes with them, a sum over a file that holds some, and at which steps there were checkpoints.
const TIMES: [&str; 9] = [
    "started_at",
    "command_line",
    "tokens_per_sec",
    "mfu",
    "peak_memory_bytes",
    "state_sha256",
    "newest",
    "after_newest",
    "sound",
];

fn without_times(value: Value) -> Value {
    let lasts = |key: &str| !key.ends_with("_secs") && !TIMES.contains(&key);
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(key, _)| lasts(key));
            kept.map(|(key, value)| (key, without_times(value))).collect()
        }
        Value::Array(values) => values.into_iter().map(without_times).collect(),
        value => value,
    }
}
