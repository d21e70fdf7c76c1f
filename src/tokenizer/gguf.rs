//! The vocabulary of a GGUF file as a tokenizer.json, and llama.cpp's names for how text is cut into words.
//!
//! Source: src/llama-vocab.cpp of ggml-org/llama.cpp, for the rules of each name and what they imply.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use super::special::{Names, around};
use crate::error::Result;
use crate::files::gguf::{Gguf, Value, shown};

/// Kinds of tokens, as `tokenizer.ggml.token_type` numbers them.
pub const NORMAL: i32 = 1;
/// Stands for something and is never text.
pub const CONTROL: i32 = 3;
/// Found in text as it is.
pub const ADDED: i32 = 4;
/// A row of the embedding without a token.
pub const UNUSED: i32 = 5;
const UNKNOWN: i32 = 2;

/// A way to cut text into words.
struct Rule {
    /// llama.cpp's names for it; the first is written.
    names: &'static [&'static str],
    cut: Cut,
    /// As Llama 3: a word that is a token is not made of merges, and texts begin with the first token where no key says
    /// otherwise.
    whole_words: bool,
}

enum Cut {
    /// GPT-2's rule.
    Gpt2,
    /// GPT-2's rule, every digit by itself.
    SingleDigits,
    /// What each expression finds, and what lies between, one expression after another.
    Splits(&'static [&'static str]),
}

const RULES: [Rule; 6] = [
    Rule { names: &["gpt-2", "olmo", "mpt"], cut: Cut::Gpt2, whole_words: false },
    Rule {
        names: &["smollm", "starcoder", "refact", "codeshell", "command-r", "minerva-7b"],
        cut: Cut::SingleDigits,
        whole_words: false,
    },
    Rule {
        names: &["default"],
        cut: Cut::Splits(&[
            r"[\p{P}\$\+<=>\^~\|]+",
            r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
            r"\p{N}+",
            "[0-9][0-9][0-9]",
        ]),
        whole_words: false,
    },
    Rule {
        names: &["llama-bpe", "llama3", "llama-v3"],
        cut: Cut::Splits(&[UP_TO_3_DIGITS]),
        whole_words: true,
    },
    Rule { names: &["dbrx", "smaug-bpe"], cut: Cut::Splits(&[UP_TO_3_DIGITS]), whole_words: false },
    Rule {
        names: &["qwen2", "stablelm2"],
        cut: Cut::Splits(&[
            r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ]),
        whole_words: false,
    },
];

const UP_TO_3_DIGITS: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Rule {
    /// As the step of a tokenizer.json.
    fn step(&self) -> Json {
        let byte_level = |use_regex: bool| {
            json!({
                "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex,
            })
        };
        let split = |regex: &&str| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
        let steps: Vec<Json> = match self.cut {
            Cut::Gpt2 => return byte_level(true),
            Cut::SingleDigits => vec![json!({"type": "Digits", "individual_digits": true}), byte_level(true)],
            Cut::Splits(all) => all.iter().map(split).chain([byte_level(false)]).collect(),
        };
        json!({"type": "Sequence", "pretokenizers": steps})
    }
}

/// llama.cpp's name for how a tokenizer.json cuts text into words; none where it has none that is known here, or where
/// text is changed before.
pub fn word_rule(described: &Json) -> Option<&'static str> {
    let cut = without_defaults(&described["pre_tokenizer"]);
    let whole_words = described["model"]["ignore_merges"] == true;
    let same = |rule: &&Rule| rule.whole_words == whole_words && without_defaults(&rule.step()) == cut;
    RULES.iter().find(same).filter(|_| described["normalizer"].is_null()).map(|rule| rule.names[0])
}

/// The steps, without keys that change no ids or say what holds without them.
fn without_defaults(step: &Json) -> Vec<Json> {
    if let Some(steps) = step["pretokenizers"].as_array() {
        return steps.iter().flat_map(without_defaults).collect();
    }
    let Some(keys) = step.as_object() else { return vec![step.clone()] };
    let default =
        |key: &str, value: &Json| key == "trim_offsets" || key == "use_regex" && *value == json!(true);
    let kept = keys.iter().filter(|(key, value)| !default(key, value));
    vec![kept.map(|(key, value)| (key.clone(), value.clone())).collect::<Map<_, _>>().into()]
}

fn key(name: &str) -> String {
    format!("tokenizer.ggml.{name}")
}

/// tokenizer.json of the file's vocabulary, and its special tokens by their part.
///
/// Errors: not a byte-level BPE, cut into words by a rule that is not known here, a key that is missing or does not fit
/// the others (65).
pub(super) fn described(file: &Gguf) -> Result<(Vec<u8>, Names)> {
    let hint = "take the model as a Hugging Face folder";
    let model = file.text(&key("model"))?;
    if model != "gpt2" {
        let why = format!("tokenizer.ggml.model is '{}', only gpt2 (byte-level BPE) is read", shown(model));
        return Err(file.wrong(format!("{why}; {hint}")));
    }
    // What llama.cpp takes for files from before there was the key.
    let pre = if file.has(&key("pre")) { file.text(&key("pre"))? } else { "default" };
    let Some(rule) = RULES.iter().find(|rule| rule.names.contains(&pre)) else {
        let known: Vec<&str> = RULES.iter().flat_map(|rule| rule.names).copied().collect();
        let why = format!("tokenizer.ggml.pre is '{}', read are {}", shown(pre), known.join(", "));
        return Err(file.wrong(format!("{why}; {hint}")));
    };
    let (vocab, added) = vocabulary(file)?;
    let names = Names {
        bos_token: special(file, "bos_token_id")?,
        eos_token: special(file, "eos_token_id")?,
        pad_token: special(file, "padding_token_id")?,
    };
    let adds = |name: &str, otherwise: bool| {
        if file.has(&key(name)) { file.flag(&key(name)) } else { Ok(otherwise) }
    };
    // Without the key there is no token that could be meant.
    let mark = |name: &str, token: &Option<String>, needed: bool| match token {
        None if needed => file.whole(&key(name)).map(|_| None),
        None => Ok(None),
        Some(token) => Ok(vocab[token].as_u64().map(|id| (token.clone(), id as u32))),
    };
    let (adds_begin, adds_end) = (adds("add_bos_token", rule.whole_words)?, adds("add_eos_token", false)?);
    let begin = mark("bos_token_id", &names.bos_token, adds_begin)?.filter(|_| adds_begin);
    let end = mark("eos_token_id", &names.eos_token, true)?.filter(|_| adds_end);
    let bytes =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let post_processor = match (&begin, &end) {
        (None, None) => bytes.clone(),
        _ => json!({"type": "Sequence", "processors": [bytes, around(begin, end)]}),
    };
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": rule.step(), "post_processor": post_processor, "decoder": bytes,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": rule.whole_words, "vocab": vocab, "merges": merges(file)?,
        },
    });
    Ok((json.to_string().into_bytes(), names))
}

/// Ids by token, and those tokens that no merge makes. Unused rows are no tokens.
fn vocabulary(file: &Gguf) -> Result<(Map<String, Json>, Vec<Json>)> {
    let (tokens, types) = (file.texts(&key("tokens"))?, file.wholes(&key("token_type"))?);
    if tokens.len() != types.len() {
        let why = format!("tokenizer.ggml.tokens has {} entries, token_type {}", tokens.len(), types.len());
        return Err(file.damaged(why));
    }
    let (mut vocab, mut added) = (Map::new(), Vec::new());
    let known = BTreeSet::from([NORMAL, UNKNOWN, CONTROL, ADDED].map(i64::from));
    for (id, (token, kind)) in tokens.iter().zip(types).enumerate() {
        if *kind == i64::from(UNUSED) {
            continue;
        }
        if !known.contains(kind) {
            let why = format!("token {id} is of type {kind}, which byte-level BPE does not have");
            return Err(file.wrong(format!("tokenizer.ggml.token_type: {why}; convert the model again")));
        }
        if vocab.insert(token.clone(), json!(id)).is_some() {
            let why = format!("token {:?} is in it twice", shown(token));
            return Err(file.wrong(format!("tokenizer.ggml.tokens: {why}; convert the model again")));
        }
        if *kind != i64::from(NORMAL) {
            added.push(json!({
                "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": *kind != i64::from(ADDED),
            }));
        }
    }
    Ok((vocab, added))
}

/// Pairs of tokens in the order of merging.
fn merges(file: &Gguf) -> Result<Vec<[&str; 2]>> {
    let pair = |merge: &'_ String| {
        // A token may begin with the space that is looked for.
        let first = merge.chars().next()?.len_utf8();
        merge[first..].find(' ').map(|at| at + first)
    };
    let pairs = file.texts(&key("merges"))?.iter().map(|merge| {
        let at = pair(merge).ok_or_else(|| {
            file.damaged(format!("tokenizer.ggml.merges: {:?} is no pair of tokens", shown(merge)))
        })?;
        Ok([&merge[..at], &merge[at + 1..]])
    });
    pairs.collect()
}

/// The token whose id a key names; none without the key.
fn special(file: &Gguf, name: &str) -> Result<Option<String>> {
    let name = key(name);
    // -1 says that there is none.
    if !file.has(&name) || file.keys().get(&name) == Some(&Value::Whole(-1)) {
        return Ok(None);
    }
    let (id, tokens, types) =
        (file.whole(&name)?, file.texts(&key("tokens"))?, file.wholes(&key("token_type"))?);
    match tokens.get(id).filter(|_| types.get(id) != Some(&i64::from(UNUSED))) {
        Some(token) => Ok(Some(token.clone())),
        None => Err(file.damaged(format!("{name} is {id}, which is no token of {}", tokens.len()))),
    }
}
