//! Ids of byte-level BPE, word by word: the words of natural text repeat, so each is merged once and then looked up.
//!
//! The merging itself is the library's, and so are the ids of every text.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use tokenizers::{Model, ModelWrapper, PreTokenizerWrapper, Tokenizer};

use super::words::Cutter;

/// Words whose ids are kept at a time, for each thread: some 20 MB.
const MAX_KEPT_WORDS: usize = 1 << 18;
/// Longer words hardly repeat.
const MAX_KEPT_BYTES: usize = 64;

/// What encoding needs to know about a byte-level BPE.
pub(super) struct ByteLevelWords {
    cutter: Cutter,
    /// Ids that the file itself puts before and after each text.
    around: [Vec<u32>; 2],
    /// The character that stands for each byte.
    characters: [char; 256],
    /// Ids of words, for each thread of the pool and one for those outside it.
    kept: Vec<Mutex<IdsOfWords>>,
}

type IdsOfWords = HashMap<Box<str>, Box<[u32]>>;
type Encoded<T> = tokenizers::Result<T>;

impl ByteLevelWords {
    /// None where the tokenizer does anything else than GPT-2's cutting and BPE, perhaps with every digit by itself.
    pub(super) fn of(tokenizer: &Tokenizer) -> Option<Self> {
        let cutter = cutter(tokenizer.get_pre_tokenizer()?)?;
        let plain = tokenizer.get_normalizer().is_none()
            && matches!(tokenizer.get_model(), ModelWrapper::BPE(_))
            // Other added tokens are found in text.
            && tokenizer.get_added_tokens_decoder().values().all(|token| token.special);
        if !plain {
            return None;
        }
        let with = tokenizer.encode_fast("a", true).ok()?.get_ids().to_vec();
        let without = tokenizer.encode_fast("a", false).ok()?.get_ids().to_vec();
        let at = with.windows(without.len().max(1)).position(|ids| ids == without)?;
        let around = [with[..at].to_vec(), with[at + without.len()..].to_vec()];
        let threads = rayon::current_num_threads() + 1;
        let kept = (0..threads).map(|_| Mutex::default()).collect();
        Some(Self { cutter, around, characters: characters(), kept })
    }

    /// Ids of each text, in parallel.
    pub(super) fn encode(&self, tokenizer: &Tokenizer, texts: &[String]) -> Encoded<Vec<Vec<u32>>> {
        texts.par_iter().map(|text| self.encode_one(tokenizer, text)).collect()
    }

    fn encode_one(&self, tokenizer: &Tokenizer, text: &str) -> Encoded<Vec<u32>> {
        let outside = self.kept.len() - 1;
        let thread = rayon::current_thread_index().unwrap_or(outside).min(outside);
        let mut kept = self.kept[thread].lock().unwrap_or_else(PoisonError::into_inner);
        let mut ids = self.around[0].clone();
        for word in self.cutter.words(text) {
            if let Some(known) = kept.get(word) {
                ids.extend_from_slice(known);
                continue;
            }
            let new = self.merge(tokenizer, word)?;
            ids.extend_from_slice(&new);
            if word.len() <= MAX_KEPT_BYTES {
                if kept.len() == MAX_KEPT_WORDS {
                    kept.clear();
                }
                kept.insert(word.into(), new.into());
            }
        }
        ids.extend_from_slice(&self.around[1]);
        Ok(ids)
    }

    fn merge(&self, tokenizer: &Tokenizer, word: &str) -> Encoded<Vec<u32>> {
        let tokens = tokenizer.get_model().tokenize(&in_characters(word, &self.characters))?;
        Ok(tokens.into_iter().map(|token| token.id).collect())
    }
}

fn cutter(steps: &PreTokenizerWrapper) -> Option<Cutter> {
    use PreTokenizerWrapper::{ByteLevel, Digits, Sequence};
    match steps {
        ByteLevel(bytes) if bytes.use_regex && !bytes.add_prefix_space => {
            Some(Cutter { single_digits: false })
        }
        Sequence(steps) => match steps.as_ref() {
            [Digits(digits), bytes @ ByteLevel(_)] if digits.individual_digits => {
                Some(Cutter { single_digits: true }).filter(|_| cutter(bytes).is_some())
            }
            _ => None,
        },
        _ => None,
    }
}

/// A character for each byte: itself where it can be seen, else one above Latin-1 (GPT-2's `bytes_to_unicode`).
pub(super) fn characters() -> [char; 256] {
    let mut hidden = 0;
    std::array::from_fn(|byte| match byte as u8 {
        seen @ (b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff) => char::from(seen),
        _ => {
            hidden += 1;
            char::from_u32(255 + hidden).unwrap_or_default()
        }
    })
}

/// A word as the model sees it: one character for each byte.
pub(super) fn in_characters(word: &str, characters: &[char; 256]) -> String {
    word.bytes().map(|byte| characters[usize::from(byte)]).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::super::{Tokenizer, TokenizerConfig};

    fn trained(single_digits: bool) -> Tokenizer {
        let documents = (0..60).map(|i| format!("the {i}th message  went home,\ndon't call it now: £{i}00!"));
        let config = TokenizerConfig { vocab_size: 320, single_digits, ..Default::default() };
        Tokenizer::train(documents, &config).unwrap()
    }

    static TOKENIZERS: LazyLock<Vec<Tokenizer>> = LazyLock::new(|| {
        let ending = |single_digits| trained(single_digits).ending_texts().unwrap();
        vec![trained(false), trained(true), ending(false), ending(true)]
    });

    fn check(texts: &[String]) {
        for tokenizer in TOKENIZERS.iter() {
            assert!(tokenizer.words.is_some());
            for (text, ids) in texts.iter().zip(tokenizer.encode_batch(texts).unwrap()) {
                let expected = tokenizer.inner.encode(text.as_str(), true).unwrap();
                assert_eq!(ids, expected.get_ids(), "{text:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn ids_are_those_of_the_library(
            texts in prop::collection::vec(any::<String>(), 1..4),
            known in "(the|message|don't| |\n|home|0|12|£|<\\|endoftext\\|>|<\\|pad\\|>|é|中){0,30}",
        ) {
            check(&texts);
            check(&[known.clone(), known.repeat(3), String::new()]);
        }
    }

    #[test]
    fn a_word_of_a_million_letters_is_encoded_in_a_moment() {
        let text: String = (0..1_000_000_usize).map(|i| ["a", "c", "g", "t"][i * i % 7 % 4]).collect();
        let start = std::time::Instant::now();
        let ids = TOKENIZERS[0].encode(&text).unwrap();
        assert_eq!(TOKENIZERS[0].decode(&ids).unwrap(), text);
        assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
    }
}
