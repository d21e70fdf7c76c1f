//! Texts that are the same or nearly so, found exactly and without comparing all pairs.
//!
//! Two texts are compared by their shingles, runs of three words in lower case with each run of digits as one
//! zero: templates differ by a number.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

/// Words of a shingle.
const SHINGLE_WORDS: usize = 3;
/// A row of this many words or more also counts as found inside a longer text; shorter ones occur there by
/// chance.
const CONTAINED_WORDS: usize = 8;

/// How close two texts are, closest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Byte for byte.
    Exact,
    /// But for case and white space.
    Normalised,
    /// But for digits too, or with its words as part of a longer text.
    Masked,
    /// By Jaccard similarity of shingles.
    Near,
}

/// A row that is close to a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// Row of the index.
    pub row: usize,
    /// How close.
    pub kind: Kind,
    /// Jaccard similarity of the shingles; 1 for all kinds but `Near`.
    pub jaccard: f64,
}

/// Rows prepared to be found.
///
/// A prefix filter keeps the search exact: of two sets with Jaccard similarity t or more, sorted by rising
/// frequency, the first |A| - ceil(t |A|) + 1 shingles share one.
/// Source: Broder 1997, "On the resemblance and containment of documents"; Chaudhuri, Ganti and Kaushik 2006,
/// "A primitive operator for similarity joins"; Bayardo, Ma and Srikant 2007, "Scaling up all pairs similarity
/// search".
pub struct NearIndex<'a> {
    texts: Vec<&'a str>,
    threshold: f64,
    masked: HashMap<String, Vec<u32>, Hasher>,
    words: Vec<Vec<u64>>,
    shingles: Vec<Vec<u64>>,
    /// Rows that have a shingle.
    frequency: HashMap<u64, u32, Hasher>,
    /// Rows by the rarest of their shingles.
    prefixes: HashMap<u64, Vec<u32>, Hasher>,
    /// Rows by their first words.
    beginnings: HashMap<u64, Vec<u32>, Hasher>,
}

/// Without a random key, so that results and their order never change.
type Hasher = BuildHasherDefault<DefaultHasher>;

impl<'a> NearIndex<'a> {
    /// Prepares `texts`; from `threshold` on, in 0..=1, two texts count as near.
    pub fn new(texts: impl IntoIterator<Item = &'a String>, threshold: f64) -> Self {
        let texts: Vec<&str> = texts.into_iter().map(String::as_str).collect();
        let texts_masked: Vec<String> = texts.iter().map(|text| masked(text)).collect();
        let mut masked: HashMap<String, Vec<u32>, Hasher> = HashMap::default();
        let mut beginnings: HashMap<u64, Vec<u32>, Hasher> = HashMap::default();
        let mut frequency: HashMap<u64, u32, Hasher> = HashMap::default();
        let words: Vec<Vec<u64>> = texts_masked.iter().map(|text| words(text)).collect();
        let shingles: Vec<Vec<u64>> = words.iter().map(|words| shingles(words)).collect();
        for (row, text) in texts_masked.into_iter().enumerate() {
            masked.entry(text).or_default().push(row as u32);
            shingles[row].iter().for_each(|shingle| *frequency.entry(*shingle).or_default() += 1);
            if let Some(first) = words[row].get(..CONTAINED_WORDS) {
                beginnings.entry(hash(first)).or_default().push(row as u32);
            }
        }
        let mut index = Self {
            texts,
            threshold,
            masked,
            words,
            shingles,
            frequency,
            prefixes: HashMap::default(),
            beginnings,
        };
        for row in 0..index.len() {
            for shingle in index.prefix(&index.shingles[row]) {
                index.prefixes.entry(shingle).or_default().push(row as u32);
            }
        }
        index
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Rows that are close to `text`, each once, in order.
    pub fn matches(&self, text: &str) -> Vec<Match> {
        let masked = masked(text);
        self.find(text, &masked, &words(&masked))
    }

    /// Rows that are close to a document, to one of its lines, or contained in it; a row may come more than once.
    pub fn matches_in_document(&self, document: &str) -> Vec<Match> {
        let masked = masked(document);
        let words = words(&masked);
        let mut found = self.find(document, &masked, &words);
        found.extend(self.contained(&words));
        if document.trim_end().contains('\n') {
            found.extend(document.lines().flat_map(|line| self.matches(line)));
        }
        found
    }

    fn find(&self, text: &str, masked: &str, words: &[u64]) -> Vec<Match> {
        let mut found = Vec::new();
        for &row in self.masked.get(masked).into_iter().flatten() {
            let own = self.texts[row as usize];
            let kind = if own == text {
                Kind::Exact
            } else if normalised(own) == normalised(text) {
                Kind::Normalised
            } else {
                Kind::Masked
            };
            found.push(Match { row: row as usize, kind, jaccard: 1.0 });
        }
        let shingles = shingles(words);
        let mut candidates: Vec<u32> = self
            .prefix(&shingles)
            .iter()
            .filter_map(|shingle| self.prefixes.get(shingle))
            .flatten()
            .copied()
            .filter(|row| found.iter().all(|same| same.row != *row as usize))
            .collect();
        candidates.sort_unstable();
        candidates.dedup();
        for row in candidates {
            let jaccard = jaccard(&self.shingles[row as usize], &shingles);
            if jaccard >= self.threshold {
                found.push(Match { row: row as usize, kind: Kind::Near, jaccard });
            }
        }
        found.sort_unstable_by_key(|found| found.row);
        found
    }

    /// Rows whose words follow each other in `words`.
    fn contained(&self, words: &[u64]) -> Vec<Match> {
        let mut found = Vec::new();
        for (at, window) in words.windows(CONTAINED_WORDS).enumerate() {
            for &row in self.beginnings.get(&hash(window)).into_iter().flatten() {
                if words[at..].starts_with(&self.words[row as usize]) {
                    found.push(Match { row: row as usize, kind: Kind::Masked, jaccard: 1.0 });
                }
            }
        }
        found
    }

    /// The rarest shingles, of which two near texts share at least one; those of no row, the rarest of all, are left
    /// out, since they lead nowhere. A text without words has none.
    fn prefix(&self, shingles: &[u64]) -> Vec<u64> {
        let frequency = |shingle: &u64| Some((*self.frequency.get(shingle)?, *shingle));
        let mut rare: Vec<(u32, u64)> = shingles.iter().filter_map(frequency).collect();
        let of_no_row = shingles.len() - rare.len();
        // A hair below the product, so that rounding never makes the prefix too short.
        let shared = (self.threshold * shingles.len() as f64 - 1e-9).ceil().max(1.0) as usize;
        let length = (shingles.len() + 1).saturating_sub(shared + of_no_row);
        rare.sort_unstable();
        rare.truncate(length);
        rare.into_iter().map(|(_, shingle)| shingle).collect()
    }
}

/// Lower case, with single spaces.
pub fn normalised(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// The same with each run of digits as one zero.
fn masked(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut in_digits = false;
    for c in normalised(text).chars() {
        let digit = c.is_numeric();
        if !(digit && in_digits) {
            masked.push(if digit { '0' } else { c });
        }
        in_digits = digit;
    }
    masked
}

/// Hashes of the words of a masked text, punctuation left out.
fn words(masked: &str) -> Vec<u64> {
    let words = masked.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty());
    words.map(hash).collect()
}

/// Distinct shingles, sorted; a text of fewer words is one shingle, one without words has none.
fn shingles(words: &[u64]) -> Vec<u64> {
    let mut shingles: Vec<u64> = match words.len() {
        0 => Vec::new(),
        1..SHINGLE_WORDS => vec![hash(words)],
        _ => words.windows(SHINGLE_WORDS).map(hash).collect(),
    };
    shingles.sort_unstable();
    shingles.dedup();
    shingles
}

/// Shared shingles by all shingles of two sorted sets.
fn jaccard(a: &[u64], b: &[u64]) -> f64 {
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => (i, j, shared) = (i + 1, j + 1, shared + 1),
        }
    }
    let all = a.len() + b.len() - shared;
    if all == 0 { 0.0 } else { shared as f64 / all as f64 }
}

fn hash<T: std::hash::Hash + ?Sized>(value: &T) -> u64 {
    Hasher::default().hash_one(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| text.to_string()).collect()
    }

    #[test]
    fn kinds_from_the_same_to_the_nearly_same() {
        let rows = owned(&["Call 0800 now to win, reply STOP to end this", "see you"]);
        let index = NearIndex::new(&rows, 0.6);
        let kind = |text: &str| index.matches(text).first().map(|found| found.kind);
        assert_eq!(kind("Call 0800 now to win, reply STOP to end this"), Some(Kind::Exact));
        assert_eq!(kind("call 0800  now TO WIN, reply stop to end this "), Some(Kind::Normalised));
        assert_eq!(kind("Call 0871 now to win, reply STOP to end this"), Some(Kind::Masked));
        assert_eq!(kind("Call 0871 now to win! Reply STOP to end it"), Some(Kind::Near));
        assert_eq!(kind("Call me when you are home"), None);
        assert_eq!(kind("See you"), Some(Kind::Normalised));
    }

    #[test]
    fn rows_are_found_in_longer_texts_and_on_lines_of_their_own() {
        let rows = owned(&["urgent you have won a 1000 pound prize today", "ok see you"]);
        let index = NearIndex::new(&rows, 0.8);
        let found = |document: &str| -> Vec<usize> {
            index.matches_in_document(document).iter().map(|found| found.row).collect()
        };
        let long = "he read aloud: Urgent! You have won a 900 pound prize today. nobody laughed";
        assert_eq!(found(long), [0]);
        assert_eq!(found("one\nok see you\nthree"), [1]);
        assert_eq!(found("he said ok see you and left"), [0; 0], "too short to be more than chance");
    }

    proptest! {
        #[test]
        fn the_prefix_filter_finds_what_comparing_all_pairs_finds(
            rows in prop::collection::vec(prop::collection::vec(0u8..4, 1..9), 1..20),
            query in prop::collection::vec(0u8..4, 1..9),
            threshold in 0.2f64..=1.0,
        ) {
            let text = |words: &Vec<u8>| {
                words.iter().map(|word| ["ab", "cd", "ef", "gh"][*word as usize]).collect::<Vec<_>>().join(" ")
            };
            let (rows, query): (Vec<String>, String) = (rows.iter().map(text).collect(), text(&query));
            let index = NearIndex::new(&rows, threshold);
            let found: Vec<usize> = index.matches(&query).iter().map(|found| found.row).collect();
            let own = shingles(&words(&masked(&query)));
            let near = |row: &usize| jaccard(&shingles(&words(&masked(&rows[*row]))), &own) >= threshold;
            let expected: Vec<usize> = (0..rows.len()).filter(near).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
