//! What a tokenizer.json may ask for. The library believes its file: some files make it panic, others make it take
//! all memory or time there is.
//!
//! `check_plan` looks at a file before the library sees it, `try_out` at what the library made of it.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::process::guarded;

/// Ids lie below it, as those of a tokenizer that is trained here.
pub(super) const MAX_IDS: usize = 1 << 20;
/// Steps of a file: normalizers, pre-tokenizers, decoders and post-processors, nested ones included.
const MAX_STEPS: usize = 64;
/// Characters that one character of text may become on its way to the model; a chain of steps multiplies.
const MAX_GROWTH: usize = 16;
/// Characters of a string that a step puts in. The longest in Unicode's own tables has 18.
const MAX_INSERTED_CHARS: usize = 64;
/// Bytes of a regular expression; those of public models have some hundred.
const MAX_PATTERN_BYTES: usize = 4096;
/// Product of the counts in `{}` of a regular expression; the library unfolds them.
const MAX_REPETITIONS: usize = 1000;
/// WordPiece looks up every part of a word: its time grows with the square of this.
const MAX_WORD_CHARS: u64 = 1000;
/// Pieces and special tokens that a template puts around a text.
const MAX_TEMPLATE: usize = 256;

/// The steps of a tokenizer.json; its vocabulary is left to the library.
#[derive(Deserialize)]
struct Plan {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    max_input_chars_per_word: Option<u64>,
    #[serde(rename = "vocab")]
    _vocab: Option<IgnoredAny>,
}

type Checked<T> = Result<T, String>;

/// What the library's `work` gives.
///
/// Errors: it panics, as it does on some files (huggingface/tokenizers issues 2094 and 2198).
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Checked<T> {
    guarded(work).map_err(|words| format!("its contents contradict each other ({words})"))
}

/// Errors: not a tokenizer.json, or a step that is empty, endless, or lengthens text beyond what memory holds.
pub(super) fn check_plan(json: &[u8]) -> Checked<()> {
    let plan: Plan = serde_json::from_slice(json).map_err(|cause| cause.to_string())?;
    let longest = plan.model.max_input_chars_per_word.unwrap_or(0);
    if longest > MAX_WORD_CHARS {
        return Err(format!("max_input_chars_per_word is {longest}, the most is {MAX_WORD_CHARS}"));
    }
    let before = [&plan.normalizer, &plan.pre_tokenizer];
    for part in [&before[..], &[&plan.post_processor], &[&plan.decoder]] {
        let mut steps = Vec::new();
        part.iter().for_each(|step| flatten(step, &mut steps));
        if steps.len() > MAX_STEPS {
            return Err(format!("it has {} steps, the most are {MAX_STEPS}", steps.len()));
        }
        let mut growth = 1_usize;
        for step in steps {
            growth = growth.saturating_mul(growth_of(step)?);
        }
        if growth > MAX_GROWTH {
            let why = format!("its steps may make one character {growth}");
            return Err(format!("{why}, the most are {MAX_GROWTH}"));
        }
    }
    Ok(())
}

/// The step, or the steps that its lists hold.
fn flatten<'a>(step: &'a Value, steps: &mut Vec<&'a Value>) {
    let lists = ["normalizers", "pretokenizers", "processors", "decoders"];
    let inner = lists.iter().filter_map(|name| step.get(name)?.as_array()).flatten();
    let before = steps.len();
    inner.for_each(|inner| flatten(inner, steps));
    if steps.len() == before && step.is_object() {
        steps.push(step);
    }
}

/// How many characters a step may make of one.
fn growth_of(step: &Value) -> Checked<usize> {
    let inserted = ["content", "prepend", "prefix", "suffix"].iter().filter_map(|key| step[*key].as_str());
    if let Some(text) = inserted.into_iter().find(|text| text.chars().count() > MAX_INSERTED_CHARS) {
        let chars = text.chars().count();
        return Err(format!("a step puts in {chars} characters, the most are {MAX_INSERTED_CHARS}"));
    }
    if step["length"] == 0 {
        return Err("a step cuts text into pieces of length 0".into());
    }
    let growth = match &step["pattern"] {
        Value::Null => 1,
        pattern => growth_of_replacement(pattern, step["content"].as_str().unwrap_or_default())?,
    };
    let expansion = match step["type"].as_str() {
        Some("ByteLevel" | "NFKC" | "NFKD") => 2,
        _ => 1,
    };
    let table = match step["precompiled_charsmap"].as_str() {
        Some(table) => growth_of_table(table)?,
        None => 1,
    };
    Ok(growth.saturating_mul(expansion).saturating_mul(table).saturating_mul(growth_of_template(step)?))
}

fn growth_of_replacement(pattern: &Value, content: &str) -> Checked<usize> {
    let inserted = content.chars().count();
    if let Some(text) = pattern["String"].as_str() {
        let chars = text.chars().count();
        if chars == 0 {
            return Err("a step looks for an empty pattern".into());
        }
        return Ok(inserted.div_ceil(chars).max(1));
    }
    let regex = pattern["Regex"].as_str().unwrap_or_default();
    if regex.len() > MAX_PATTERN_BYTES {
        return Err(format!("a pattern has {} bytes, the most are {MAX_PATTERN_BYTES}", regex.len()));
    }
    let repetitions = repetitions(regex);
    if repetitions > MAX_REPETITIONS {
        return Err(format!("a pattern repeats {repetitions} times, the most are {MAX_REPETITIONS}"));
    }
    // Where nothing matches, text is put in beside the character.
    let of_nothing = ["(?=", "(?!", "(?<", "\\b", "\\B", "^", "$", "*", "?", "{0", "|"];
    let kept = usize::from(regex.is_empty() || of_nothing.iter().any(|part| regex.contains(part)));
    Ok(if inserted == 0 { 1 } else { inserted + kept })
}

/// Product of the counts in braces.
fn repetitions(regex: &str) -> usize {
    let mut product = 1_usize;
    for (at, _) in regex.match_indices('{') {
        // \p{L} and \x{41} are no counts.
        let named = regex[..at].ends_with(['p', 'P', 'x', 'u', 'U']);
        let inside = regex[at + 1..].split('}').next().unwrap_or_default();
        let counts = inside.split(',').map(|count| count.trim().parse::<usize>());
        if let (false, Some(most)) = (named, counts.flatten().max()) {
            product = product.saturating_mul(most.max(1));
        }
    }
    product
}

/// SentencePiece's table of replacements: bytes of an index as u32, the index, texts ended by NUL; as base64.
fn growth_of_table(table: &str) -> Checked<usize> {
    let wrong = || "its precompiled_charsmap is damaged".to_string();
    // The library that uses it asks for no padding either.
    let any_padding = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(&STANDARD, any_padding).decode(table).map_err(|_| wrong())?;
    let (length, rest) = bytes.split_first_chunk().ok_or_else(wrong)?;
    let texts = rest.get(u32::from_le_bytes(*length) as usize..).ok_or_else(wrong)?;
    let texts = std::str::from_utf8(texts).map_err(|_| wrong())?;
    let longest = texts.split('\0').map(|text| text.chars().count()).max().unwrap_or(0);
    match longest <= MAX_INSERTED_CHARS {
        true => Ok(2),
        false => Err(format!("its precompiled_charsmap puts in {longest} characters")),
    }
}

/// How often a template repeats its text.
fn growth_of_template(step: &Value) -> Checked<usize> {
    let mut most = 1;
    for name in ["single", "pair"] {
        let pieces = step[name].as_array().map_or(&[][..], Vec::as_slice);
        let tokens = step["special_tokens"].as_object();
        let ids = |piece: &Value| {
            let token = tokens?.get(piece["SpecialToken"]["id"].as_str()?)?;
            Some(token["ids"].as_array()?.len().max(token["tokens"].as_array()?.len()))
        };
        let added: usize = pieces.iter().map(|piece| ids(piece).unwrap_or(1)).sum();
        if added > MAX_TEMPLATE {
            return Err(format!("its template adds {added} tokens, the most are {MAX_TEMPLATE}"));
        }
        if name == "single" {
            let texts = pieces.iter().filter(|piece| piece.get("Sequence").is_some());
            most = most.max(texts.count());
        }
    }
    Ok(most)
}

/// Texts of all kinds of characters, short ones first.
fn probes() -> impl Iterator<Item = String> {
    let kinds = "\u{0} a. A 0 12345 'tis  \t\n\r\n_-/\"``'' àñ İß ﷺ ﬁ Ω и ש क्षि ไทย 日本語 한국 𝒳 👩‍👩‍👧 e\u{301} \u{200b}\u{feff}\u{fffd}<s>";
    let words =
        "the cat walked to the river, 2 x 34567 times; it's HERE: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ";
    let short = ["", " ", "a", "the cat"].map(str::to_string);
    short.into_iter().chain([kinds.to_string(), words.to_string(), words.repeat(4) + &kinds.repeat(2)])
}

/// Encodes and decodes a few short texts.
///
/// Errors: ids outside the vocabulary or above the limit, far more tokens than text, or far more time.
pub(super) fn try_out(tokenizer: &tokenizers::Tokenizer) -> Checked<()> {
    const MOST_TIME: Duration = Duration::from_secs(5);
    let vocabulary = tokenizer.get_vocab(true);
    if let Some((token, id)) = vocabulary.iter().find(|(_, id)| **id as usize >= MAX_IDS) {
        let token: String = token.chars().take(20).collect();
        return Err(format!("token {token:?} has id {id}, ids must lie below {MAX_IDS}"));
    }
    let start = Instant::now();
    for text in probes() {
        // A vocabulary that lacks some characters is of use for other texts.
        let Ok(encoding) = tokenizer.encode_fast(text.as_str(), true) else { continue };
        let ids = encoding.get_ids();
        if let Some(id) = ids.iter().find(|id| tokenizer.id_to_token(**id).is_none()) {
            return Err(format!("it gives id {id}, which is not in its vocabulary"));
        }
        let (bytes, most) = (text.len(), MAX_GROWTH * text.len() + MAX_TEMPLATE);
        if ids.len() > most {
            return Err(format!("it makes {} tokens of {bytes} bytes", ids.len()));
        }
        let _ = tokenizer.decode(ids, true);
        if start.elapsed() > MOST_TIME {
            return Err(format!("it takes {} s for {bytes} bytes", start.elapsed().as_secs()));
        }
    }
    Ok(())
}
