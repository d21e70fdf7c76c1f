//! One JSON object a line.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use super::super::text::Lines;
use super::rows::{Columns, Rows, for_each_line, quoted, quoted_all};
use crate::error::Result;

/// Reads the text and label keys of each object; other keys are ignored.
///
/// A label may be a string, a number or a boolean. Nesting is limited to 128 levels (serde_json's limit).
pub(super) fn read(lines: Lines, columns: Columns, rows: &mut Rows) -> Result<()> {
    for_each_line(lines, rows, |rows, number, line| match parse(line, columns) {
        Ok((label, text)) => rows.push(number, label.as_deref(), &text),
        Err((column, why)) => rows.reject(format_args!("{number}:{column}"), why),
    })
}

/// Label and text of one line, or the column (in bytes, from 1) and what is wrong there.
fn parse(line: &str, columns: Columns) -> std::result::Result<(Option<String>, String), (usize, String)> {
    let Object(fields) = serde_json::from_str(line).map_err(|cause| {
        let text = cause.to_string();
        // Its own line number would always be 1.
        let why = text.rsplit_once(" at line ").map_or(text.as_str(), |(why, _)| why);
        (cause.column(), why.to_string())
    })?;
    let field = |key: &str| {
        let absent = || (1, format!("no key {}, found: {}", quoted(key), quoted_all(fields.keys())));
        fields.get(key).ok_or_else(absent)
    };
    let text = match field(columns.text)? {
        Value::String(text) => text.clone(),
        other => return Err((1, format!("{} is {}, expected a string", quoted(columns.text), kind(other)))),
    };
    let Some(key) = columns.label else { return Ok((None, text)) };
    let label = match field(key)? {
        Value::String(label) => label.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        other => {
            let why = format!("{} is {}, expected a string, number or boolean", quoted(key), kind(other));
            return Err((1, why));
        }
    };
    Ok((Some(label), text))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The keys and values of one object. serde_json's own map would keep the last of two equal keys in silence.
struct Object(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("one object a line")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Object, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            let shown = quoted(&key);
            if fields.insert(key, map.next_value()?).is_some() {
                return Err(A::Error::custom(format!("key {shown} is there twice")));
            }
        }
        Ok(Object(fields))
    }
}
