//! The words that byte-level BPE merges within, cut as GPT-2's regular expression cuts them, but by a plain scan, and
//! counted to train on.
//!
//! Source: the pattern of Radford et al. 2019's `encoder.py`, as the `tokenizers` crate applies it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};

use rayon::prelude::*;
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

/// Letters and signs after an apostrophe that are a word together with it.
const CONTRACTIONS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];
/// Documents are counted in parallel in pieces of about this size.
const PIECE_BYTES: usize = 8 << 20;
/// Training cuts longer words: its time grows with the square of the longest one, and no token gets that long.
const MAX_WORD_BYTES: usize = 1000;
/// Different words that are counted at once. The trainer takes some 600 bytes for each.
const MAX_WORDS: usize = 750_000;

/// Where a text is cut before BPE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cutter {
    /// Every digit is a word of its own.
    pub(super) single_digits: bool,
}

impl Cutter {
    /// The words of `text` in order; together they are the text.
    pub(super) fn words(self, text: &str) -> impl Iterator<Item = &str> {
        let mut rest = text;
        std::iter::from_fn(move || {
            let part = if self.single_digits { before_digit(rest) } else { rest };
            let (word, _) = part.split_at_checked(first_word(part))?;
            rest = &rest[word.len()..];
            (!word.is_empty()).then_some(word)
        })
    }
}

/// A digit that `text` starts with, or all before the first one.
fn before_digit(text: &str) -> &str {
    let mut digits = text.char_indices().filter(|(_, c)| c.is_numeric());
    match digits.next() {
        Some((0, digit)) => &text[..digit.len_utf8()],
        Some((at, _)) => &text[..at],
        None => text,
    }
}

/// Bytes of the first word of `text`.
fn first_word(text: &str) -> usize {
    if text.starts_with('\'')
        && let Some(contraction) = CONTRACTIONS.iter().find(|word| text.starts_with(*word))
    {
        return contraction.len();
    }
    let space = usize::from(text.starts_with(' '));
    match text[space..].chars().next().map(class) {
        Some(kind) if kind != SPACE => space + run(&text[space..], kind),
        _ => {
            // The last white space before a word stays for that word.
            let end = run(text, SPACE);
            let last = text[..end].chars().next_back().map_or(0, char::len_utf8);
            if end == text.len() || end == last { end } else { end - last }
        }
    }
}

/// Bytes of the characters of one class at the beginning of `text`.
fn run(text: &str, kind: u8) -> usize {
    text.char_indices().find(|(_, c)| class(*c) != kind).map_or(text.len(), |(at, _)| at)
}

const UNKNOWN: u8 = 0;
const SPACE: u8 = 1;
const LETTER: u8 = 2;
const NUMBER: u8 = 3;
const OTHER: u8 = 4;

/// Class of each character that was met. The library itself is asked, once, so that its Unicode tables decide.
static CLASSES: [AtomicU8; 0x11_0000] = [const { AtomicU8::new(UNKNOWN) }; 0x11_0000];

fn class(c: char) -> u8 {
    let known = &CLASSES[c as usize];
    let class = known.load(Ordering::Relaxed);
    if class != UNKNOWN {
        return class;
    }
    let stays_with = |before: char| {
        let mut text = PreTokenizedString::from(format!("{before}{c}"));
        let cut = ByteLevel::new(false, false, true).pre_tokenize(&mut text);
        cut.is_ok() && text.get_splits(OffsetReferential::Original, OffsetType::Byte).len() == 1
    };
    let class = match c {
        _ if c.is_whitespace() => SPACE,
        _ if stays_with('a') => LETTER,
        _ if stays_with('0') => NUMBER,
        _ => OTHER,
    };
    known.store(class, Ordering::Relaxed);
    class
}

/// How often each word occurs in documents, long ones in pieces.
///
/// Where there are too many different words, the rarest so far are forgotten. Documents are counted in pieces of a
/// fixed size, so the counts are the same at any number of threads.
pub struct WordCounter {
    cutter: Cutter,
    counts: HashMap<String, u64>,
    /// Documents that wait to be counted, and their bytes.
    piece: Vec<String>,
    bytes: usize,
}

impl WordCounter {
    /// Nothing counted so far; with `single_digits` every digit is a word of its own.
    pub fn new(single_digits: bool) -> Self {
        Self { cutter: Cutter { single_digits }, counts: HashMap::new(), piece: Vec::new(), bytes: 0 }
    }

    /// Counts the words of a document.
    pub fn push(&mut self, document: String) {
        self.bytes += document.len();
        self.piece.push(document);
        if self.bytes >= PIECE_BYTES {
            self.count_piece();
        }
    }

    /// The counts of all documents.
    pub(super) fn finish(mut self) -> HashMap<String, u64> {
        self.count_piece();
        self.counts
    }

    fn count_piece(&mut self) {
        let (piece, cutter) = (std::mem::take(&mut self.piece), self.cutter);
        let parts: Vec<HashMap<&str, u64>> = piece
            .par_chunks(piece.len().div_ceil(rayon::current_num_threads()).max(1))
            .map(|documents| {
                let mut counts = HashMap::new();
                for word in documents.iter().flat_map(|document| cutter.words(document)).flat_map(pieces) {
                    *counts.entry(word).or_default() += 1;
                }
                counts
            })
            .collect();
        for (word, count) in parts.into_iter().flatten() {
            match self.counts.get_mut(word) {
                Some(sum) => *sum += count,
                None => drop(self.counts.insert(word.into(), count)),
            }
        }
        forget_rare(&mut self.counts, MAX_WORDS);
        self.bytes = 0;
    }
}

/// The word, or its pieces where it is too long to train on.
fn pieces(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let end = (0..=rest.len().min(MAX_WORD_BYTES)).rev().find(|end| rest.is_char_boundary(*end))?;
        let (piece, after) = rest.split_at(end);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

fn forget_rare(counts: &mut HashMap<String, u64>, most: usize) {
    let mut rare = 1;
    while counts.len() > most {
        counts.retain(|_, count| *count > rare);
        rare *= 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokenizers::pre_tokenizers::digits::Digits;

    use super::*;

    /// Words as the library cuts them.
    fn cut_by_library(text: &str, single_digits: bool) -> Vec<String> {
        let mut cut = PreTokenizedString::from(text);
        if single_digits {
            Digits::new(true).pre_tokenize(&mut cut).unwrap();
        }
        ByteLevel::new(false, false, true).pre_tokenize(&mut cut).unwrap();
        let splits = cut.get_splits(OffsetReferential::Original, OffsetType::Byte);
        splits.into_iter().map(|(_, (start, end), _)| text[start..end].to_string()).collect()
    }

    fn check(text: &str) {
        for single_digits in [false, true] {
            let words: Vec<&str> = Cutter { single_digits }.words(text).collect();
            assert_eq!(
                words,
                cut_by_library(text, single_digits),
                "{text:?}, single digits: {single_digits}"
            );
        }
    }

    #[test]
    fn words_of_known_texts() {
        let texts = [
            "",
            " ",
            "  ",
            "\n",
            " \n\n a",
            "a  b",
            "don't we'll I'M 's'",
            "x\t\ty ",
            "£100,000.50!?  end  ",
            "a\u{a0} b",
            "٣٤ ⅷ ² 3rd",
            "e\u{301}t\u{e9} 中文字 ไทย 🙂🙂 ",
            "\u{85}\u{2028}\u{3000}z",
            "'",
            "''s",
            "a'b",
            " 's",
            "12 34  56",
        ];
        texts.into_iter().for_each(check);
    }

    #[test]
    fn every_character_is_of_the_class_that_the_library_takes_it_for() {
        // One in thirteen, which meets every block.
        let all: Vec<char> = ('\0'..=char::MAX).step_by(13).collect();
        for some in all.chunks(500) {
            check(&some.iter().flat_map(|c| ['a', *c, '0', *c, ' ', *c]).collect::<String>());
        }
    }

    proptest! {
        #[test]
        fn any_text_is_cut_as_by_the_library(text: String, mixed in "[ a'sé0٣\n\t.!中]{0,40}") {
            check(&text);
            check(&mixed);
        }
    }

    #[test]
    fn counts_are_of_all_documents_and_long_words_come_in_pieces() {
        let long = "é".repeat(1200);
        let mut counter = WordCounter::new(false);
        counter.push("a b a".into());
        counter.push(format!("{long} a"));
        let counts = counter.finish();
        let of = |word: &str| counts.get(word).copied().unwrap_or(0);
        assert_eq!((of("a"), of(" a"), of(" b"), of(&"é".repeat(500))), (1, 2, 1, 2));
        assert_eq!(of(&"é".repeat(200)), 1);
    }

    #[test]
    fn the_rarest_words_are_forgotten_where_there_are_too_many() {
        let counted = |words: u64| (0..words).map(|i| (i.to_string(), 1 + i % 4)).collect();
        let mut few: HashMap<String, u64> = counted(8);
        forget_rare(&mut few, 8);
        assert_eq!(few.len(), 8);
        let mut many: HashMap<String, u64> = counted(12);
        forget_rare(&mut many, 8);
        assert!(many.len() <= 8 && many.values().all(|count| *count > 2), "{many:?}");
    }
}
