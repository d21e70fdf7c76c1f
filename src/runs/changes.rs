//! Configs held against each other: what changed since a run was begun, and which files a config names.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::config;
use crate::data::files_named;
use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::run_dir::{Manifest, would_clear};

/// Keys that say where something is. What is there has a hash, so it may be moved.
const PLACES: [&str; 8] = [
    "output_dir",
    "data.cache_dir",
    "init_from",
    "tokenizer.path",
    "data.train",
    "data.validation",
    "data.test",
    "data.leave_out",
];
/// Those of them that hold nothing a run depends on.
const WITHOUT_CONTENT: [&str; 2] = ["output_dir", "data.cache_dir"];

/// Errors: clearing the run at `path` would take away what the new run is made from (73).
pub fn keeps_inputs(path: &Path, config: &impl Serialize) -> Result<()> {
    let table: Table = toml::from_str(&config::to_toml(config)?).unwrap_or_default();
    for (key, input) in inputs("", &table) {
        let places = if key.contains("data.") { files_named(&input) } else { vec![input.clone().into()] };
        for place in places {
            if would_clear(path, &place)? {
                let which = if place == Path::new(&input) {
                    String::new()
                } else {
                    format!("{} of ", place.display())
                };
                let why = format!("{which}{key} {input} lies in output_dir {}", path.display());
                let hint = "which --overwrite clears; choose another output_dir";
                return Err(Error::new(ErrorKind::Output, format!("{why}, {hint}")));
            }
        }
    }
    Ok(())
}

/// Errors: `output_dir` would lie in a folder whose files are read as text (73).
pub fn lies_apart(output_dir: &Path, config: &impl Serialize) -> Result<()> {
    let table: Table = toml::from_str(&config::to_toml(config)?).unwrap_or_default();
    // An output_dir that cannot be is refused where it is opened.
    let Ok(place) = files::place_of(output_dir) else { return Ok(()) };
    for (key, input) in inputs("", &table).into_iter().filter(|(key, _)| key.contains("data.")) {
        let folder = Path::new(&input);
        if folder.is_dir() && place.starts_with(files::place_of(folder)?) {
            let why = format!("output_dir {} lies in {key} {input}", output_dir.display());
            let hint = "so the run would read its own files as text; choose another output_dir";
            return Err(Error::new(ErrorKind::Output, format!("{why}, {hint}")));
        }
    }
    Ok(())
}

/// Key and value of everything that names an input.
fn inputs(prefix: &str, table: &Table) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (key, value) in table {
        let name = format!("{prefix}{key}");
        let is_input = name == "pretrained"
            || PLACES.iter().any(|place| !WITHOUT_CONTENT.contains(place) && is_key(&name, place));
        match value {
            Value::Table(inner) => found.extend(inputs(&format!("{name}."), inner)),
            Value::String(input) if is_input => found.push((name, input.clone())),
            Value::Array(list) if is_input => {
                let texts = list.iter().filter_map(Value::as_str);
                found.extend(texts.map(|input| (name.clone(), input.to_string())));
            }
            _ => {}
        }
    }
    found.retain(|(_, input)| !input.is_empty());
    found
}

/// Whether `key` is `name`, alone or in the section of a comparison.
fn is_key(key: &str, name: &str) -> bool {
    let of_start = key.strip_prefix("starts.").and_then(|key| key.split_once('.'));
    if of_start.is_some_and(|(_, key)| key == name) {
        return true;
    }
    key == name || ["pretrain.", "finetune."].iter().any(|section| key.strip_prefix(section) == Some(name))
}

/// A key whose value is another than it was.
pub struct Change {
    /// Its dotted name.
    pub key: String,
    /// Old and new value.
    values: String,
}

impl Change {
    /// Whether it says where something is.
    pub fn names_place(&self) -> bool {
        PLACES.iter().any(|place| is_key(&self.key, place))
    }

    /// Whether it says where something is that a run depends on.
    pub fn names_content(&self) -> bool {
        self.names_place() && !WITHOUT_CONTENT.iter().any(|place| is_key(&self.key, place))
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.key, self.values)
    }
}

/// Keys that decide what a checkpoint holds: they stay as they are, even where others of their section may change.
const OF_CHECKPOINTS: [&str; 1] = ["optim.kind"];

/// Keys that leave a run as it is.
const WITHOUT_EFFECT: [&str; 2] = ["device", "train.keep_checkpoints"];

/// Whether the run at `path` was made by this program with this config, but for the device and where things are. One
/// that was killed before it wrote its config was not.
///
/// Errors: its config is damaged (65).
pub fn is_of<C: Serialize + DeserializeOwned>(path: &Path, manifest: &Manifest, config: &C) -> Result<bool> {
    let stored = path.join("config.toml");
    if !files::exists(&stored)? {
        return Ok(false);
    }
    let changes = stored_changes(&stored, config)?;
    let agrees = changes.iter().all(|change| change.names_place() || WITHOUT_EFFECT.contains(&&*change.key));
    Ok(agrees && manifest.is_of_this_program())
}

/// Compares the stored config with the present one.
///
/// Errors: a key has changed that is neither in `harmless` nor says where something is (2); the stored config is damaged (65).
pub fn harmless_changes<C: Serialize + DeserializeOwned>(
    stored: &Path,
    config: &C,
    harmless: &[&str],
) -> Result<Vec<Change>> {
    let changes = stored_changes(stored, config)?;
    let is_harmless = |change: &&Change| {
        let allows = |name: &&str| match name.strip_suffix('.') {
            Some(_) => change.key.starts_with(name),
            None => change.key == *name,
        };
        let may_change = !OF_CHECKPOINTS.contains(&&*change.key) && harmless.iter().any(allows);
        change.names_place() || may_change
    };
    if let Some(change) = changes.iter().find(|change| !is_harmless(change)) {
        let hint = "set it back, or start anew with --overwrite";
        return Err(Error::usage(format!("cannot resume with another config: {change}; {hint}")));
    }
    Ok(changes)
}

/// What the present config has other than the stored one.
///
/// Errors: the stored config is damaged (65).
pub fn stored_changes<C: Serialize + DeserializeOwned>(stored: &Path, config: &C) -> Result<Vec<Change>> {
    let text = files::read_text(stored)?;
    let old: C = toml::from_str(&text).map_err(|cause: toml::de::Error| {
        Error::data(format!("{}: {}", stored.display(), cause.message()))
    })?;
    // Keys that the program did not know yet have their defaults in both.
    changes(&old, config)
}

/// What `new` has other than `old`, key by key.
pub fn changes(old: &impl Serialize, new: &impl Serialize) -> Result<Vec<Change>> {
    let table = |text: String| toml::from_str::<Table>(&text).unwrap_or_default();
    let found = changed("", &table(config::to_toml(old)?), &table(config::to_toml(new)?));
    Ok(found.into_iter().map(|(key, old, new)| Change { key, values: format!("{old} -> {new}") }).collect())
}

fn changed(prefix: &str, old: &Table, new: &Table) -> Vec<(String, String, String)> {
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    let mut found = Vec::new();
    for key in keys {
        let name = format!("{prefix}{key}");
        match (old.get(key), new.get(key)) {
            (Some(Value::Table(old)), Some(Value::Table(new))) => {
                found.extend(changed(&format!("{name}."), old, new));
            }
            (old, new) if old != new => {
                let show = |value: Option<&Value>| match value {
                    None => "absent".into(),
                    Some(Value::Table(_)) => "a section".into(),
                    Some(value) => value.to_string(),
                };
                found.push((name, show(old), show(new)));
            }
            _ => {}
        }
    }
    found
}
