//! From TOML, `--set`s and flags to a checked config, and back to TOML.

use std::ops::Range;
use std::path::Path;

use serde::Serialize;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::compare::CompareConfig;
use super::finetune::FinetuneConfig;
use super::loadable::Config;
use super::pretrain::PretrainConfig;
use super::schema::{ANY_NAME, known_keys};
use crate::error::{Error, Result};
use crate::{files, ranges};

/// Where the text of a config is.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// In a file.
    File(&'a Path),
    /// In memory, with its name in errors. An empty text is a config of defaults.
    Text(&'a str, &'a str),
}

/// A flag that stands for one key.
#[derive(Clone, Debug)]
pub struct Flag {
    name: &'static str,
    key: &'static str,
    value: Value,
}

impl Flag {
    /// The flag `name`, as typed, which gives `key` this value.
    pub fn new(name: &'static str, key: &'static str, value: impl Into<Value>) -> Self {
        Self { name, key, value: value.into() }
    }
}

/// Loads a config and checks the whole: defaults < text < `--set key=value` < flags, each list in its order.
///
/// Errors (all exit 2 but a missing file, 66): not UTF-8 or not TOML, an unknown key with the nearest known
/// one, a wrong type, a value out of range.
pub fn load<C: Config>(source: Source, sets: &[String], flags: &[Flag]) -> Result<C> {
    let mut overrides = sets.iter().map(|set| Override::from_set(set)).collect::<Result<Vec<_>>>()?;
    overrides.extend(flags.iter().cloned().map(Override::from));
    match source {
        Source::File(path) => parse(&path.display().to_string(), &read(path)?, &overrides),
        Source::Text(name, text) => parse(name, text, &overrides),
    }
}

/// The config as TOML with every key.
pub fn to_toml(config: &impl Serialize) -> Result<String> {
    toml::to_string_pretty(config)
        .map_err(|cause| Error::usage(format!("config cannot be written: {cause}")).caused_by(cause))
}

fn read(path: &Path) -> Result<String> {
    let bytes = files::read(path).map_err(|cause| match path.is_dir() {
        true => Error::usage(format!("config {} is a folder; name a TOML file", path.display())),
        false => cause,
    })?;
    let text = String::from_utf8(bytes).map_err(|cause| {
        let line = line_at(cause.as_bytes(), cause.utf8_error().valid_up_to());
        Error::usage(format!("{}:{line}: the config is not UTF-8 text; save it as UTF-8", path.display()))
    })?;
    match text.trim().is_empty() {
        true => {
            Err(Error::usage(format!("{}:1: the config is empty; see configs/ for examples", path.display())))
        }
        false => Ok(text),
    }
}

/// A value laid over the text.
struct Override {
    key: String,
    value: Value,
    /// The value as it was typed; none of a flag, which has a type.
    text: Option<String>,
    /// What was typed.
    typed: String,
}

impl Override {
    fn from_set(set: &str) -> Result<Self> {
        let Some((key, value)) = set.split_once('=') else {
            return Err(Error::usage(format!(
                "--set {set}: expected key=value, such as train.max_steps=200"
            )));
        };
        let (key, value) = (key.trim(), value.trim());
        let parsed: Option<Table> = toml::from_str(&format!("value = {value}")).ok();
        // What is not TOML by itself is a string without its quotes.
        let text = Some(value.to_string());
        let value =
            parsed.and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(value.into()));
        Ok(Self { key: key.into(), value, text, typed: format!("--set {set}") })
    }

    fn insert(&self, table: &mut Table, value: Value) -> Result<()> {
        let mut parts: Vec<&str> = self.key.split('.').collect();
        let name = parts.pop().unwrap_or_default();
        let mut table = table;
        for part in parts {
            let inner = table.entry(part.to_string()).or_insert_with(|| Value::Table(Table::new()));
            table = inner
                .as_table_mut()
                .ok_or_else(|| Error::usage(format!("{}: '{part}' is not a section", self.typed)))?;
        }
        table.insert(name.into(), value);
        Ok(())
    }

    /// Whether it sets `key`, alone or with the whole of its section.
    fn sets(&self, key: &str) -> bool {
        key.strip_prefix(&self.key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

impl From<Flag> for Override {
    fn from(flag: Flag) -> Self {
        let shown = flag.value.as_str().map_or_else(|| flag.value.to_string(), str::to_string);
        let typed = format!("{} {shown}", flag.name);
        Self { key: flag.key.into(), value: flag.value, text: None, typed }
    }
}

fn parse<C: Config>(name: &str, text: &str, overrides: &[Override]) -> Result<C> {
    let wrong = |cause: toml::de::Error| {
        let line = line_at(text.as_bytes(), cause.span().map_or(0, |span| span.start));
        Error::usage(format!("{name}:{line}: {}", cause.message())).caused_by(cause)
    };
    let spans = DeTable::parse(text).map_err(wrong)?;
    let place = |key: &str| match span_of(spans.get_ref(), key) {
        Some(span) => format!("{name}:{}", line_at(text.as_bytes(), span.start)),
        None => name.to_string(),
    };
    let mut table: Table = toml::from_str(text).map_err(wrong)?;
    let known = known_keys::<C>();
    let typed = check_keys(&table, &known, place).and_then(|()| toml::from_str::<C>(text).map_err(wrong));
    typed.map_err(|cause| match command_of(&table) {
        Some(command) => {
            let why = format!("{name} is a config of `train {command}`, not of `train {}`", C::COMMAND);
            Error::usage(format!("{why}; name another file"))
        }
        None => cause,
    })?;
    let mut config: C = over_defaults(&table).map_err(wrong)?;
    for one in overrides {
        let before = table.clone();
        one.insert(&mut table, one.value.clone())?;
        check_keys(&table, &known, |_| one.typed.clone())?;
        config = over_defaults(&table).or_else(|cause: toml::de::Error| {
            // A key that wants a text takes what was typed as it stands, a number too.
            let as_text = one.text.as_ref().and_then(|text| {
                table = before;
                one.insert(&mut table, Value::String(text.clone())).ok()?;
                over_defaults(&table).ok()
            });
            let wrong = || Error::usage(format!("{}: {}", one.typed, cause.message())).caused_by(cause);
            as_text.ok_or_else(wrong)
        })?;
    }
    if let Some(outside) = ranges::first_outside("", &config)? {
        let last = overrides.iter().rev().find(|one| one.sets(&outside.key));
        let place = last.map_or_else(|| place(&outside.key), |one| one.typed.clone());
        return Err(Error::usage(format!("{place}: {}", outside.why)));
    }
    config.check_sections()?;
    Ok(config)
}

/// The config of these keys, every other one as in the defaults of the whole: a section has other defaults in one command
/// than in another, and a further start of a comparison those of a fine-tuning. A model is taken as it is, since another
/// family has other keys.
fn over_defaults<C: Config>(table: &Table) -> std::result::Result<C, toml::de::Error> {
    fn overlay(defaults: &mut Table, table: &Table) {
        for (key, value) in table {
            match (defaults.get_mut(key), value) {
                (Some(Value::Table(inner)), Value::Table(own)) if key != "model" => overlay(inner, own),
                _ => drop(defaults.insert(key.clone(), value.clone())),
            }
        }
    }
    let mut all = Table::try_from(C::default()).unwrap_or_default();
    if let (Some(Value::Table(starts)), true) = (table.get("starts"), C::COMMAND == CompareConfig::COMMAND) {
        let fine_tuning = || Value::try_from(FinetuneConfig::default()).unwrap_or(Value::Table(Table::new()));
        let starts = starts.keys().map(|name| (name.clone(), fine_tuning())).collect();
        all.insert("starts".into(), Value::Table(starts));
    }
    overlay(&mut all, table);
    all.try_into()
}

fn check_keys(table: &Table, known: &[String], place: impl Fn(&str) -> String) -> Result<()> {
    let mut keys = Vec::new();
    flatten(table, "", &mut keys);
    let Some(unknown) = keys.iter().find(|key| !known.iter().any(|known| is_named(key, known))) else {
        return Ok(());
    };
    // Names of the user's own stand where they stand in the unknown key.
    let own = unknown.split('.').nth(1).unwrap_or_default();
    let known = known.iter().map(|key| key.replace(ANY_NAME, own)).filter(|key| {
        let of_start = |key: &str| key.starts_with("starts.");
        of_start(key) == of_start(unknown)
    });
    let nearest = known.map(|key| (similarity(unknown, &key), key)).max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = match nearest {
        Some((similarity, key)) if similarity > 0.6 => format!("did you mean '{key}'?"),
        _ => "train config check prints all keys".to_string(),
    };
    Err(Error::usage(format!("{}: unknown key '{unknown}', {hint}", place(unknown))))
}

/// Whether a key is the known one, but for names of the user's own.
fn is_named(key: &str, known: &str) -> bool {
    let parts = |key: &'_ str| key.split('.').count();
    let agree = |(part, known): (&str, &str)| part == known || known == ANY_NAME;
    parts(key) == parts(known) && key.split('.').zip(known.split('.')).all(agree)
}

/// The command that takes such a config, where one does.
fn command_of(table: &Table) -> Option<&'static str> {
    fn of<C: Config>(table: &Table) -> Option<&'static str> {
        table.clone().try_into::<C>().ok().map(|_| C::COMMAND)
    }
    of::<PretrainConfig>(table).or_else(|| of::<FinetuneConfig>(table)).or_else(|| of::<CompareConfig>(table))
}

fn flatten(table: &Table, prefix: &str, keys: &mut Vec<String>) {
    for (key, value) in table {
        match value {
            Value::Table(inner) => flatten(inner, &format!("{prefix}{key}."), keys),
            _ => keys.push(format!("{prefix}{key}")),
        }
    }
}

/// A key in the wrong section is near too.
fn similarity(a: &str, b: &str) -> f64 {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_string();
    strsim::jaro_winkler(a, b).max(0.95 * strsim::jaro_winkler(&last(a), &last(b)))
}

/// Where a dotted key stands in the text.
fn span_of(table: &DeTable, key: &str) -> Option<Range<usize>> {
    let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    let (name, value) = table.get_key_value(first)?;
    match (rest, value.get_ref()) {
        (None, _) => Some(name.span()),
        (Some(rest), DeValue::Table(inner)) => span_of(inner, rest),
        _ => None,
    }
}

/// Line of the byte at `offset`, from 1.
fn line_at(text: &[u8], offset: usize) -> usize {
    1 + text[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}
