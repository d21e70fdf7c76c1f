//! One JSON object a line.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use super::super::advice::Advice;
use super::super::text::Lines;
use super::rows::{Columns, Label, Rows, for_each_line, quoted, quoted_all};
use crate::error::Result;

/// Reads the text and label keys of each object; other keys are ignored.
///
/// A label may be a string, a number or a boolean. Nesting is limited to 128 levels (serde_json's limit). Lossy text
/// has U+FFFD for each half of a surrogate pair.
pub(super) fn read(lines: Lines, columns: Columns, rows: &mut Rows) -> Result<()> {
    let lossy = lines.is_lossy();
    for_each_line(lines, rows, |rows, number, line| {
        let whole = if lossy { without_half_pairs(line) } else { Cow::Borrowed(line) };
        match parse(&whole, columns, rows.advice()) {
            Ok(Fields { label, is_number, text }) => {
                let label = label.as_deref();
                let label = label.map(if is_number { Label::number } else { Label::text });
                rows.push(number, label, &text);
            }
            Err((column, why)) => rows.reject(format_args!("{number}:{column}"), why),
        }
    })
}

/// What is read of one object.
struct Fields {
    label: Option<String>,
    is_number: bool,
    text: String,
}

/// Text and label of one line, or the column (in bytes, from 1) and what is wrong there.
fn parse(line: &str, columns: Columns, advice: Advice) -> std::result::Result<Fields, (usize, String)> {
    let Object(mut fields) = serde_json::from_str(line).map_err(|cause| not_json(line, &cause, advice))?;
    let absent = |key: &str, fields: &BTreeMap<String, Value>| {
        (1, format!("no key {}, found: {}", quoted(key), quoted_all(fields.keys())))
    };
    let text = match fields.get_mut(columns.text).map(Value::take) {
        None => return Err(absent(columns.text, &fields)),
        Some(Value::String(text)) => text,
        Some(other) => {
            return Err((1, format!("{} is {}, expected a string", quoted(columns.text), kind(&other))));
        }
    };
    let Some(key) = columns.label else { return Ok(Fields { label: None, is_number: false, text }) };
    let label = match fields.get(key) {
        None => return Err(absent(key, &fields)),
        Some(Value::String(label)) => label.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(value)) => value.to_string(),
        Some(other) => {
            let why = format!("{} is {}, expected a string, number or boolean", quoted(key), kind(other));
            return Err((1, why));
        }
    };
    Ok(Fields { label: Some(label), is_number: fields[key].is_number(), text })
}

/// Column and reason of a line that is no object.
fn not_json(line: &str, cause: &serde_json::Error, advice: Advice) -> (usize, String) {
    if let Some(at) = half_pairs(line).next() {
        let half = &line[at..at + ESCAPE];
        let why = format!("{half} is half a surrogate pair, which stands for no character");
        return (at + 1, format!("{why}; write both halves{}", advice.or_lossy()));
    }
    let text = cause.to_string();
    // Its own line number would always be 1.
    let why = text.rsplit_once(" at line ").map_or(text.as_str(), |(why, _)| why);
    (cause.column(), why.to_string())
}

/// Bytes of an escape such as `\ud83d`.
const ESCAPE: usize = 6;

/// Where the escapes in a JSON text stand that are half a surrogate pair.
fn half_pairs(json: &str) -> impl Iterator<Item = usize> + '_ {
    let unit = |at: usize| {
        let digits = json.get(at..at + ESCAPE)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))
    };
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            at += json[at..].find('\\')?;
            let found = at;
            let escape = unit(at);
            // An escape has at least one more byte, which may be a backslash itself.
            at = json.len().min(at + if escape.is_some() { ESCAPE } else { 2 });
            at += (at..json.len()).take_while(|at| !json.is_char_boundary(*at)).count();
            match escape {
                Some(0xd800..=0xdbff) if matches!(unit(at), Some(0xdc00..=0xdfff)) => at += ESCAPE,
                Some(0xd800..=0xdfff) => return Some(found),
                _ => {}
            }
        }
    })
}

/// The same with U+FFFD for each half of a surrogate pair.
fn without_half_pairs(json: &str) -> Cow<'_, str> {
    let mut whole = String::new();
    let mut end = 0;
    for at in half_pairs(json) {
        whole += &json[end..at];
        whole.push('\u{fffd}');
        end = at + ESCAPE;
    }
    if end == 0 { Cow::Borrowed(json) } else { Cow::Owned(whole + &json[end..]) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_surrogate_pairs_are_told_from_whole_ones_and_from_escaped_backslashes() {
        let whole = |json| without_half_pairs(json).into_owned();
        assert_eq!(whole(r"a \ud83d\ude00 b"), r"a \ud83d\ude00 b");
        assert_eq!(whole(r"\ud83d and \uDE00\ud83d"), "\u{fffd} and \u{fffd}\u{fffd}");
        assert_eq!(whole(r"\\ud83d \u00e9 \ü \ud8"), r"\\ud83d \u00e9 \ü \ud8");
        assert_eq!(half_pairs(r"\ud83d\n").collect::<Vec<_>>(), [0]);
    }
}
