//! What a schema says, a config does, and the other way round.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::schema::{ANY_NAME, known_keys};
use super::*;
use crate::model::{Gpt2Config, ModelConfig};

/// The message of a config that is refused.
fn refused<C: Config>(text: &str, sets: &[&str], flags: &[Flag]) -> String {
    let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
    load::<C>(Source::Text("x.toml", text), &sets, flags).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn a_flag_wins_over_set_and_set_over_the_file() {
    let sets = ["seed=3".to_string(), "seed=4".into(), "device=\"cuda\"".into()];
    let flags = [Flag::new("--device", "device", "cpu")];
    let source = Source::Text("x.toml", "seed = 2\ndevice = \"auto\"\noutput_dir = \"here\"\n");
    let config: PretrainConfig = load(source, &sets, &flags).unwrap();
    let found = (config.seed, &config.device[..], &config.output_dir[..], config.bleu_prompts);
    assert_eq!(found, (4, "cpu", "here", PretrainConfig::default().bleu_prompts));
    assert_eq!(load::<CompareConfig>(Source::Text("none", ""), &[], &[]).unwrap(), CompareConfig::default());
}

#[test]
fn a_mistake_is_placed_by_line_set_or_flag() {
    let text = "seed = 1\n[train]\ndropout = 1\n";
    let range = "train.dropout is 1; it must be 0 or more and below 1";
    assert_eq!(refused::<PretrainConfig>(text, &[], &[]), format!("x.toml:3: {range}"));
    assert_eq!(refused::<PretrainConfig>("train.dropout = 1", &[], &[]), format!("x.toml:1: {range}"));
    let of_compare = refused::<CompareConfig>("[finetune.train]\n\ndropout = 1.0\n", &[], &[]);
    assert_eq!(of_compare, format!("x.toml:3: finetune.{range}"));
    let of_set = refused::<PretrainConfig>("seed = 1", &["train.dropout=1"], &[]);
    assert_eq!(of_set, format!("--set train.dropout=1: {range}"));
    let of_section = refused::<PretrainConfig>("seed = 1", &["train={dropout=1.0}"], &[]);
    assert_eq!(of_section, format!("--set train={{dropout=1.0}}: {range}"));
    let flag = Flag::new("--dropout", "train.dropout", 1.0);
    assert_eq!(refused::<PretrainConfig>(text, &[], &[flag]), format!("--dropout 1.0: {range}"));
    let unknown = refused::<PretrainConfig>("train.max_stepz = 3", &[], &[]);
    assert!(unknown.starts_with("x.toml:1: unknown key 'train.max_stepz', did you mean"), "{unknown}");
    let typed = refused::<PretrainConfig>("", &[], &[Flag::new("--device", "device", 3)]);
    assert!(typed.starts_with("--device 3: ") && typed.contains("string"), "{typed}");
    let list = refused::<CompareConfig>("", &["search.max_epochs=[1, -2]"], &[]);
    assert!(list.ends_with("search.max_epochs holds -2; it must be above 0"), "{list}");
}

#[test]
fn a_section_keeps_the_defaults_of_its_command_beside_the_keys_that_are_given() {
    let sets = ["train.max_epochs=2", "optim.warmup_steps=3"].map(String::from);
    let config: FinetuneConfig =
        load(Source::Text("x.toml", "[train]\nlog_interval = 5\n"), &sets, &[]).unwrap();
    let mut expected = FinetuneConfig::default();
    (expected.train.max_epochs, expected.train.log_interval, expected.optim.warmup_steps) = (2.0, 5, 3);
    assert_eq!(config, expected);
    let text = "[finetune.train]\nmax_steps = 7\n[pretrain.model]\nmodel_type = \"gpt2\"\n";
    let compare: CompareConfig = load(Source::Text("x.toml", text), &[], &[]).unwrap();
    assert_eq!(compare.finetune.train.micro_batch_size, FinetuneConfig::default().train.micro_batch_size);
    assert_eq!(compare.pretrain.model, ModelConfig::Gpt2(Gpt2Config::default()));
}

/// The keys of `schema` with their schemas, each shape of a section in turn.
fn leaves(schema: &Value, key: &str, found: &mut Vec<(String, Value)>) {
    if schema["additionalProperties"].is_object() {
        return leaves(&schema["additionalProperties"], &format!("{key}.{ANY_NAME}"), found);
    }
    let shapes = schema["oneOf"].as_array().filter(|shapes| shapes[0]["properties"].is_object());
    match (schema["properties"].as_object(), shapes) {
        (Some(properties), _) => {
            assert_eq!(schema["additionalProperties"], false, "{key}");
            let dot = if key.is_empty() { "" } else { "." };
            properties.iter().for_each(|(name, schema)| leaves(schema, &format!("{key}{dot}{name}"), found));
        }
        (None, Some(shapes)) => shapes.iter().for_each(|shape| leaves(shape, key, found)),
        (None, None) => found.push((key.into(), schema.clone())),
    }
}

fn leaves_of<C: Config>() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    leaves(&schema::<C>(), "", &mut found);
    found
}

/// Every key of the defaults is in the schema with the same default, and every key of the schema in the defaults
/// but those of sections that may be absent and of the other model families.
fn agrees_with_defaults<C: Config>(absent: &[&str]) {
    let defaults = toml::Table::try_from(C::default()).unwrap();
    let default = |key: &str| {
        key.split('.').try_fold(toml::Value::Table(defaults.clone()), |value, part| value.get(part).cloned())
    };
    let leaves = leaves_of::<C>();
    let (mut seen, mut compared) = (0, BTreeSet::new());
    for (key, schema) in &leaves {
        assert!(schema["description"].is_string() || schema["const"].is_string(), "{key} is not described");
        match default(key) {
            // A key that families share has the default of the first.
            Some(value) if schema["const"].is_null() && compared.insert(key) => {
                assert_eq!(schema["default"], serde_json::to_value(&value).unwrap(), "{key}");
                seen += 1;
            }
            Some(_) => seen += 1,
            None => assert!(absent.iter().any(|start| key.starts_with(start)), "{key} has no default"),
        }
    }
    assert!(seen > 40, "{seen}");
    assert_eq!(known_keys::<C>(), leaves.into_iter().map(|(key, _)| key).collect::<Vec<_>>());
    let flat = C::default();
    let again: C = load(Source::Text("defaults", &to_toml(&flat).unwrap()), &[], &[]).unwrap();
    assert_eq!(to_toml(&again).unwrap(), to_toml(&flat).unwrap());
}

#[test]
fn schema_and_defaults_have_the_same_keys() {
    agrees_with_defaults::<PretrainConfig>(&["model."]);
    agrees_with_defaults::<FinetuneConfig>(&[
        "model.",
        "lora.",
        "classifier.pooling",
        "classifier.attention",
    ]);
    let of_classifier = ["finetune.classifier.pooling", "finetune.classifier.attention"];
    let absent =
        [&["pretrain.model.", "finetune.model.", "finetune.lora.", "starts.*."][..], &of_classifier].concat();
    agrees_with_defaults::<CompareConfig>(&absent);
}

/// The bounds of a schema: the value, a step inwards or outwards, and whether the value itself is allowed.
fn bounds(schema: &Value) -> Vec<(f64, f64, bool)> {
    let kinds = [
        ("minimum", 1.0, true),
        ("maximum", -1.0, true),
        ("exclusiveMinimum", 1.0, false),
        ("exclusiveMaximum", -1.0, false),
    ];
    let bound =
        |(name, inwards, allowed): (&str, f64, bool)| Some((schema[name].as_f64()?, inwards, allowed));
    kinds.into_iter().filter_map(bound).collect()
}

/// Whether a config of defaults may have `value` for `key`, with the model family that has it.
fn outcome<C: Config>(key: &str, value: &str) -> crate::error::Result<()> {
    let family_of = |name: &str| match name {
        "type_vocab_size" | "layer_norm_eps" => Some("bert"),
        _ if name.starts_with("n_") || name == "layer_norm_epsilon" => Some("gpt2"),
        _ => None,
    };
    let family = key.rsplit_once('.').and_then(|(section, name)| Some((section, family_of(name)?)));
    let family = family.map(|(section, family)| format!("{section}.model_type={family}"));
    let start = key.starts_with("starts.").then(|| "starts.other.init_from=model".to_string());
    let sets: Vec<String> = start.into_iter().chain(family).chain([format!("{key}={value}")]).collect();
    load::<C>(Source::Text("x.toml", ""), &sets, &[]).map(|_| ())
}

/// Every bound in the schema holds: its edge passes, what lies outside is refused by name.
fn holds_its_ranges<C: Config>(known: usize) {
    let mut tried = 0;
    for (key, schema) in leaves_of::<C>() {
        let key = key.replace(ANY_NAME, "other");
        let integer = schema["type"] == "integer";
        // That an integer is not below 0 is said by its type.
        for (edge, inwards, allowed) in bounds(&schema).into_iter().filter(|bound| !integer || bound.0 != 0.0)
        {
            let step = if integer { inwards } else { inwards * (edge.abs() * 1e-6).max(1e-40) };
            let (inside, outside) = if allowed { (edge, edge - step) } else { (edge + step, edge) };
            let shown = |value: f64| if integer { format!("{value}") } else { format!("{value:e}") };
            let named = format!("{key} is ");
            // A number that fits its own range may still not fit the others.
            if let Err(why) = outcome::<C>(&key, &shown(inside)) {
                assert!(!why.to_string().contains(&named), "{why}");
            }
            let why = outcome::<C>(&key, &shown(outside)).unwrap_err().to_string();
            assert!(why.contains(&named), "{key} {outside}: {why}");
            tried += 1;
        }
    }
    assert!(tried >= known, "only {tried} bounds");
}

#[test]
fn what_lies_outside_a_range_of_the_schema_is_refused() {
    holds_its_ranges::<PretrainConfig>(50);
    holds_its_ranges::<FinetuneConfig>(60);
    holds_its_ranges::<CompareConfig>(110);
}

/// Why `value` does not fit `schema`; what schemas of configs use of the language is all that is known here.
fn misfit(schema: &Value, value: &Value, place: &str) -> Option<String> {
    if let Some(shapes) = schema["oneOf"].as_array() {
        let misfits: Vec<String> = shapes.iter().filter_map(|shape| misfit(shape, value, place)).collect();
        return (misfits.len() + 1 != shapes.len()).then(|| misfits.join(" and "));
    }
    let is = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        _ => value.is_number(),
    };
    if schema["type"].as_str().is_some_and(|kind| !is(kind))
        || (!schema["const"].is_null() && schema["const"] != *value)
    {
        return Some(format!("{place} is {value}"));
    }
    if let Some(number) = value.as_f64() {
        let outside = bounds(schema)
            .into_iter()
            .any(|(edge, inwards, allowed)| (number - edge) * inwards < 0.0 || (number == edge && !allowed));
        return outside.then(|| format!("{place} is {number}"));
    }
    let of = |key: &str| schema["properties"].get(key).unwrap_or(&schema["additionalProperties"]);
    let inner = |key: &str, value: &Value| match of(key) {
        Value::Null | Value::Bool(false) => Some(format!("{place}.{key} is unknown")),
        schema => misfit(schema, value, &format!("{place}.{key}")),
    };
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let missing = required.into_iter().find(|key| value.is_object() && value[*key].is_null());
    missing.map(|key| format!("{place}.{key} is missing")).or_else(|| match value {
        Value::Object(keys) => keys.iter().find_map(|(key, value)| inner(key, value)),
        Value::Array(values) => values.iter().find_map(|value| misfit(&schema["items"], value, place)),
        _ => None,
    })
}

fn fits<C: Config>(path: &Path) -> Option<String> {
    let table: toml::Table = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    load::<C>(Source::File(path), &[], &[]).unwrap();
    misfit(&schema::<C>(), &serde_json::to_value(table).unwrap(), &path.display().to_string())
}

#[test]
fn shipped_configs_fit_their_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let folders = [root.join("untried"), root];
    let files =
        folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|file| file.unwrap().path());
    let mut seen = 0;
    for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let wrong = match name {
            _ if name.contains("compare") => fits::<CompareConfig>(&path),
            _ if name.contains("pretrain") => fits::<PretrainConfig>(&path),
            _ => fits::<FinetuneConfig>(&path),
        };
        assert_eq!(wrong, None, "{name}");
        seen += 1;
    }
    assert!(seen > 6, "{seen}");
    let table = serde_json::json!({"model": {"model_type": "gpt2", "hidden_size": 3}});
    assert!(misfit(&schema::<PretrainConfig>(), &table, "x").unwrap().contains("hidden_size is unknown"));
}
