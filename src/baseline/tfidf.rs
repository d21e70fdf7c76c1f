//! N-gram TF-IDF as scikit-learn's `TfidfVectorizer(sublinear_tf=True)`: of characters with `analyzer="char",
//! ngram_range=(2, 5)` on lower-cased text with single spaces between words and one at either end, or of words
//! with `token_pattern=r"\b\w+\b", ngram_range=(1, 2)`.

use std::collections::HashMap;

use rayon::prelude::*;

/// Shortest and longest n-gram of characters. Source: the strongest classical model measured on this data,
/// an SVM on 2- to 5-grams.
const MIN_CHARS: usize = 2;
const MAX_CHARS: usize = 5;
/// Columns kept, those of most texts first; bounds time and memory on long texts (SMS Spam has 128 k in all).
const MAX_FEATURES: usize = 1 << 18;
/// Bits of one character in a key: every `char` plus one stays below 2^21, so five fit in a u128.
const CHAR_BITS: u32 = 21;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Features {
    /// Runs of two to five characters.
    Chars,
    /// Words and pairs of words.
    Words,
}

/// The non-zero columns of a row by rising column. Values are f32 to halve the memory of long texts; sums
/// over them are f64.
pub type SparseRow = Vec<(u32, f32)>;

/// Columns and weights learnt from the training texts.
pub struct Tfidf {
    features: Features,
    columns: HashMap<u128, Column>,
}

struct Column {
    id: u32,
    idf: f64,
}

impl Tfidf {
    /// Learns n-grams and their weights: idf = ln((1 + texts) / (1 + texts with it)) + 1.
    pub fn fit<S: AsRef<str> + Sync>(features: Features, texts: &[S]) -> Self {
        let in_texts = texts
            .par_iter()
            .fold(HashMap::<u128, u32>::new, |mut in_texts, text| {
                for (ngram, _) in ngram_counts(features, text.as_ref()) {
                    *in_texts.entry(ngram).or_default() += 1;
                }
                in_texts
            })
            .reduce(HashMap::new, |a, b| {
                let (mut large, small) = if a.len() < b.len() { (b, a) } else { (a, b) };
                for (ngram, count) in small {
                    *large.entry(ngram).or_default() += count;
                }
                large
            });
        let mut by_frequency: Vec<(u128, u32)> = in_texts.into_iter().collect();
        // The key breaks ties, so that columns do not depend on the order in a hash map.
        by_frequency.par_sort_unstable_by_key(|&(ngram, count)| (std::cmp::Reverse(count), ngram));
        by_frequency.truncate(MAX_FEATURES);
        let column = |(id, (ngram, count)): (usize, (u128, u32))| {
            let idf = ((1.0 + texts.len() as f64) / (1.0 + f64::from(count))).ln() + 1.0;
            (ngram, Column { id: id as u32, idf })
        };
        Self { features, columns: by_frequency.into_iter().enumerate().map(column).collect() }
    }

    /// Columns with these keys and weights, in order.
    pub fn of(features: Features, columns: impl Iterator<Item = (u128, f64)>) -> Self {
        let column = |(id, (ngram, idf)): (usize, (u128, f64))| (ngram, Column { id: id as u32, idf });
        Self { features, columns: columns.enumerate().map(column).collect() }
    }

    /// Key and weight of each column, in order.
    pub fn columns(&self) -> (Vec<u128>, Vec<f64>) {
        let mut columns: Vec<(u32, u128, f64)> =
            self.columns.iter().map(|(ngram, column)| (column.id, *ngram, column.idf)).collect();
        columns.sort_unstable_by_key(|(id, ..)| *id);
        columns.into_iter().map(|(_, ngram, idf)| (ngram, idf)).unzip()
    }

    /// Number of columns.
    pub fn num_features(&self) -> usize {
        self.columns.len()
    }

    /// One row per text: (1 + ln count) * idf per known n-gram, scaled to length one.
    pub fn rows<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Vec<SparseRow> {
        texts.par_iter().map(|text| self.row(text.as_ref())).collect()
    }

    fn row(&self, text: &str) -> SparseRow {
        let known = ngram_counts(self.features, text).into_iter().filter_map(|(ngram, count)| {
            let column = self.columns.get(&ngram)?;
            Some((column.id, (1.0 + f64::from(count).ln()) * column.idf))
        });
        let mut row: Vec<(u32, f64)> = known.collect();
        row.sort_unstable_by_key(|&(id, _)| id);
        let length = row.iter().map(|(_, value)| value * value).sum::<f64>().sqrt();
        row.into_iter().map(|(id, value)| (id, (value / length) as f32)).collect()
    }
}

/// Texts that the weights of n-grams are learnt from where the nearest of many is sought; bounds time and memory.
const WEIGHED_TEXTS: usize = 1 << 14;

/// For each query the text nearest to it, with the cosine of their character n-grams, 0 to 1; None where they
/// share none. The weights are those of the first texts.
pub fn nearest<S: AsRef<str> + Sync>(texts: &[S], queries: &[S]) -> Vec<Option<(usize, f64)>> {
    let tfidf = Tfidf::fit(Features::Chars, &texts[..texts.len().min(WEIGHED_TEXTS)]);
    let queries = tfidf.rows(queries);
    // The larger cosine, of equals the first text.
    let nearer = |a: (usize, f64), b: (usize, f64)| {
        if a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)).is_ge() { a } else { b }
    };
    let none = || vec![(usize::MAX, 0.0); queries.len()];
    let best = texts
        .par_iter()
        .enumerate()
        .fold(none, |mut best, (at, text)| {
            let row = tfidf.row(text.as_ref());
            for (best, query) in best.iter_mut().zip(&queries) {
                *best = nearer(*best, (at, dot(&row, query)));
            }
            best
        })
        .reduce(none, |a, b| a.into_iter().zip(b).map(|(a, b)| nearer(a, b)).collect());
    best.into_iter().map(|best| Some(best).filter(|(_, cosine)| *cosine > 0.0)).collect()
}

/// Sum of products over the columns that both rows have.
fn dot(a: &SparseRow, b: &SparseRow) -> f64 {
    let (mut i, mut j, mut sum) = (0, 0, 0.0);
    while i < a.len() && j < b.len() {
        match a[i].0.cmp(&b[j].0) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => {
                sum += f64::from(a[i].1) * f64::from(b[j].1);
                (i, j) = (i + 1, j + 1);
            }
        }
    }
    sum
}

/// Distinct n-grams of the text as keys, with their counts.
fn ngram_counts(features: Features, text: &str) -> Vec<(u128, u32)> {
    let text = text.to_lowercase();
    let mut keys = match features {
        Features::Chars => char_keys(&text),
        Features::Words => word_keys(&text),
    };
    keys.sort_unstable();
    keys.chunk_by(|a, b| a == b).map(|run| (run[0], run.len() as u32)).collect()
}

/// Each n-gram packed into its key.
fn char_keys(text: &str) -> Vec<u128> {
    let mut chars = vec![' '];
    for word in text.split_whitespace() {
        chars.extend(word.chars());
        chars.push(' ');
    }
    let mut keys = Vec::with_capacity(chars.len() * (MAX_CHARS - MIN_CHARS + 1));
    for start in 0..chars.len() {
        let mut key = 0;
        for (before, &c) in chars[start..].iter().take(MAX_CHARS).enumerate() {
            key = key << CHAR_BITS | u128::from(u32::from(c) + 1);
            if before + 1 >= MIN_CHARS {
                keys.push(key);
            }
        }
    }
    keys
}

/// Hashes of the words and of the pairs of neighbours.
fn word_keys(text: &str) -> Vec<u128> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let words: Vec<&str> = text.split(|c| !is_word(c)).filter(|word| !word.is_empty()).collect();
    let pairs = words.windows(2).map(|pair| hash(&format!("{} {}", pair[0], pair[1])));
    words.iter().map(|word| hash(word)).chain(pairs).collect()
}

/// FNV-1a in 128 bits: two of a million n-grams fall together with a chance below 1e-26.
/// Source: Fowler, Noll and Vo, RFC 9923.
fn hash(text: &str) -> u128 {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    text.bytes().fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}
