//! Values within the ranges that their schema states.
//!
//! Layer 0. A range is an attribute of its field, `#[schemars(range(min = 0, max = 1))]`, so what an editor marks and
//! what a run refuses are one statement. Numbers are finite everywhere.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::Value as Schema;
use toml::Value;

use crate::error::{Error, Result};

/// JSON Schema (2020-12) of `T` with the schemas of its sections in place.
pub fn schema<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Errors: a value of the section outside its range, by key (2).
pub fn check<T: JsonSchema + Serialize>(section: &str, values: &T) -> Result<()> {
    match first_outside(section, values)? {
        Some(outside) => Err(Error::usage(outside.why)),
        None => Ok(()),
    }
}

/// A value that its schema does not allow.
pub struct Outside {
    /// Its dotted name.
    pub key: String,
    /// One sentence: key, value and range.
    pub why: String,
}

/// The first value outside its range; `section` stands before its key.
///
/// Errors: an integer above the largest of TOML, 2^63 - 1 (2).
pub fn first_outside<T: JsonSchema + Serialize>(section: &str, values: &T) -> Result<Option<Outside>> {
    let values = Value::try_from(values)
        .map_err(|cause| Error::usage(format!("config cannot be written: {cause}")).caused_by(cause))?;
    Ok(search(&schema::<T>(), &values, section))
}

/// The keys that `schema` has for `values`: of several shapes, those of the one with the same constants.
fn properties<'a>(schema: &'a Schema, values: &toml::Table) -> Option<&'a serde_json::Map<String, Schema>> {
    let fits = |properties: &&serde_json::Map<String, Schema>| {
        let constants = properties.iter().filter_map(|(key, schema)| Some((key, schema["const"].as_str()?)));
        constants.into_iter().all(|(key, text)| values.get(key).and_then(Value::as_str) == Some(text))
    };
    let shapes = schema["oneOf"].as_array().map_or(std::slice::from_ref(schema), Vec::as_slice);
    shapes.iter().filter_map(|shape| shape["properties"].as_object()).find(fits)
}

fn search(schema: &Schema, value: &Value, key: &str) -> Option<Outside> {
    match value {
        Value::Table(values) => {
            let (known, any) = (properties(schema, values), schema.get("additionalProperties"));
            let of = |name: &String| known.and_then(|known| known.get(name)).or(any);
            let dot = if key.is_empty() { "" } else { "." };
            let mut inner = values.iter().filter_map(|(name, value)| Some((name, of(name)?, value)));
            inner.find_map(|(name, schema, value)| search(schema, value, &format!("{key}{dot}{name}")))
        }
        Value::Array(values) => values.iter().find_map(|value| {
            let why = refused(&schema["items"], value)?;
            Some(Outside { key: key.into(), why: format!("{key} holds {why}") })
        }),
        _ => refused(schema, value).map(|why| Outside { key: key.into(), why: format!("{key} is {why}") }),
    }
}

/// The number and the range that it misses, in words.
fn refused(schema: &Schema, value: &Value) -> Option<String> {
    let bound = |name: &str| schema[name].as_f64();
    let least = |number: f64| {
        bound("minimum").is_none_or(|min| number >= min)
            && bound("exclusiveMinimum").is_none_or(|min| number > min)
    };
    let most = |number: f64| {
        bound("maximum").is_none_or(|max| number <= max)
            && bound("exclusiveMaximum").is_none_or(|max| number < max)
    };
    match *value {
        Value::Integer(number) if !(least(number as f64) && most(number as f64)) => {
            Some(format!("{number}; it must {}", range(schema)))
        }
        Value::Float(number) if !(number.is_finite() && least(number) && most(number)) => {
            Some(format!("{number}; it must {}", range(schema)))
        }
        _ => None,
    }
}

/// What `schema` asks of a number, after "it must".
fn range(schema: &Schema) -> String {
    let bound = |name: &str| {
        schema.get(name).map(|bound| match bound.as_f64() {
            Some(whole) if whole.fract() == 0.0 && whole.abs() < 1e15 => format!("{whole}"),
            _ => bound.to_string(),
        })
    };
    let (above, below) = (bound("exclusiveMinimum"), bound("exclusiveMaximum"));
    match (bound("minimum"), above, bound("maximum"), below) {
        (Some(min), None, Some(max), None) if schema["type"] == "integer" => format!("lie in {min}..={max}"),
        (Some(min), None, Some(max), None) => format!("lie between {min} and {max}"),
        (Some(min), None, None, Some(max)) => format!("be {min} or more and below {max}"),
        (Some(min), None, None, None) => format!("be {min} or more"),
        (None, Some(min), Some(max), None) => format!("lie above {min}, up to {max}"),
        (None, Some(min), None, Some(max)) => format!("lie between {min} and {max}, both excluded"),
        (None, Some(min), None, None) => format!("be above {min}"),
        _ => "be a finite number".into(),
    }
}
