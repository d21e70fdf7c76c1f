//! JSON Schema of a config: keys, types, ranges, choices and defaults; editors complete and check by it.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::ranges;

/// JSON Schema (2020-12) of a config with every key it may have, and no others.
pub fn schema<C: Serialize + Default + JsonSchema>() -> Value {
    let mut schema = ranges::schema::<C>();
    let defaults = serde_json::to_value(C::default()).unwrap_or_default();
    put_defaults(&mut schema, &defaults);
    // Further starts of a comparison are fine-tunings.
    if let Some(start) = schema.pointer_mut("/properties/starts/additionalProperties") {
        put_defaults(start, &defaults["finetune"]);
    }
    schema
}

/// Gives each key the default that it has in its config; two configs may fill one section differently. A section
/// that is absent by default keeps those of its own.
fn put_defaults(schema: &mut Value, default: &Value) {
    let Value::Object(parts) = schema else { return };
    // Size of the type in memory, which says nothing about TOML.
    parts.remove("format");
    if let Some(Value::String(description)) = parts.get_mut("description") {
        *description = description.replace('\n', " ");
    }
    if let Some(Value::Object(keys)) = parts.get_mut("properties") {
        keys.iter_mut().for_each(|(key, schema)| put_defaults(schema, &default[key]));
        parts.remove("default");
    } else if let Some(Value::Array(shapes)) = parts.get_mut("oneOf").filter(|shapes| has_keys(&shapes[0])) {
        shapes.iter_mut().for_each(|shape| put_defaults(shape, &Value::Null));
        parts.remove("default");
    } else if !default.is_null() {
        parts.insert("default".into(), default.clone());
    }
}

fn has_keys(schema: &Value) -> bool {
    schema["properties"].is_object()
}

/// Stands in [`known_keys`] for a name of the user's own.
pub(super) const ANY_NAME: &str = "*";

/// Dotted names of all keys of a config, of every shape that a section may have.
pub(super) fn known_keys<C: Serialize + Default + JsonSchema>() -> Vec<String> {
    let mut keys = Vec::new();
    flatten(&ranges::schema::<C>(), "", &mut keys);
    keys
}

fn flatten(schema: &Value, key: &str, keys: &mut Vec<String>) {
    let inside = |properties: &Map<String, Value>, keys: &mut Vec<String>| {
        let dot = if key.is_empty() { "" } else { "." };
        properties.iter().for_each(|(name, schema)| flatten(schema, &format!("{key}{dot}{name}"), keys));
    };
    // A section whose keys are names of the user's own.
    if let Some(named) = schema.get("additionalProperties").filter(|named| has_keys(named)) {
        return flatten(named, &format!("{key}.{ANY_NAME}"), keys);
    }
    match (&schema["properties"], &schema["oneOf"]) {
        (Value::Object(properties), _) => inside(properties, keys),
        (_, Value::Array(shapes)) if has_keys(&shapes[0]) => {
            shapes.iter().for_each(|shape| flatten(shape, key, keys));
        }
        _ => keys.push(key.into()),
    }
}
