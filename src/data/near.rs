//! Texts that are the same or nearly so, found exactly and without comparing all pairs.
//!
//! Two texts are compared by their shingles, runs of three words in lower case with each run of digits as one
//! zero: templates differ by a number. Where no spaces stand between words, each character counts as a word. A
//! shingle is known by 32 bits of its hash: of two short texts some 1 in 10 million pairs seem to share one more.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

/// Words of a shingle.
const SHINGLE_WORDS: usize = 3;
/// A row of this many words or more, or of twice as many characters that count as words, also counts as found inside a
/// longer text; shorter ones occur there by chance.
const CONTAINED_WORDS: usize = 8;
/// Characters of the longest word. A longer run, such as base64, is compared by its pieces.
const MAX_WORD_CHARS: usize = 64;
/// Characters of such a piece; one begins at each character.
const PIECE_CHARS: usize = 8;

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

impl Kind {
    /// As results name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Normalised => "normalised",
            Self::Masked => "masked",
            Self::Near => "near",
        }
    }
}

/// Rows that are close to a text: all that are equal to `row` as `kind` says, those that are `Near` and `Masked` but for
/// case, white space and digits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// The first of them.
    pub row: usize,
    /// How close.
    pub kind: Kind,
    /// Jaccard similarity of the shingles; 1 for all kinds but `Near`.
    pub jaccard: f64,
}

/// Rows prepared to be found.
///
/// Rows that are equal but for case, white space and digits have the same shingles and are looked at as one. A prefix
/// filter keeps the search among the others exact: of two sets with Jaccard similarity t or more, sorted by rising
/// frequency, the first |A| - ceil(t |A|) + 1 shingles share one.
/// Source: Broder 1997, "On the resemblance and containment of documents"; Chaudhuri, Ganti and Kaushik 2006,
/// "A primitive operator for similarity joins"; Bayardo, Ma and Srikant 2007, "Scaling up all pairs similarity
/// search".
pub struct NearIndex<'a> {
    texts: Vec<&'a str>,
    threshold: f64,
    exact: Classes,
    normalised: Classes,
    masked: Classes,
    shingles: Sets,
    counts: Counts,
    /// Rows by the rarest of their shingles.
    prefixes: Rows,
    /// Rows that may be found inside a longer text, by their first words.
    beginnings: Rows,
}

/// Rows by 32 bits of a hash, in order: (hash, row).
#[derive(Default)]
struct Rows(Vec<(u32, u32)>);

impl Rows {
    fn of(&self, hash: u32) -> impl Iterator<Item = u32> {
        let first = self.0.partition_point(|(other, _)| *other < hash);
        self.0[first..].iter().take_while(move |(other, _)| *other == hash).map(|(_, row)| *row)
    }
}

/// Rows that are equal in some way.
struct Classes {
    /// The first row of each row's class.
    first: Vec<u32>,
    /// The first rows by their hash.
    by_hash: Rows,
}

impl Classes {
    /// Of rows with these hashes.
    fn new(hashes: impl Iterator<Item = u64>) -> Self {
        let mut rows: Vec<(u64, u32)> = hashes.zip(0..).collect();
        rows.sort_unstable();
        let mut classes = Self { first: vec![0; rows.len()], by_hash: Rows::default() };
        for class in rows.chunk_by(|(one, _), (other, _)| one == other) {
            let (hash, first) = class[0];
            class.iter().for_each(|(_, row)| classes.first[*row as usize] = first);
            classes.by_hash.0.push((hash as u32, first));
        }
        classes.by_hash.0.sort_unstable();
        classes.by_hash.0.shrink_to_fit();
        classes
    }

    /// The first row of each class, in order.
    fn first_rows(&self) -> impl Iterator<Item = usize> {
        self.first.iter().enumerate().filter(|(row, first)| *row == **first as usize).map(|(row, _)| row)
    }
}

/// The shingles of each row, one after another.
struct Sets {
    shingles: Vec<u32>,
    ends: Vec<usize>,
}

impl Sets {
    fn of(&self, row: usize) -> &[u32] {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.shingles[start..self.ends[row]]
    }
}

/// How often each shingle occurs. Those that share a place count together, which changes where a search looks first and
/// not what it finds.
struct Counts(Vec<u16>);

impl Counts {
    const MAX_PLACES: usize = 1 << 24;

    fn of_rows(rows: usize) -> Self {
        // Some 16 shingles a row.
        Self(vec![0; (16 * rows).next_power_of_two().clamp(1 << 10, Self::MAX_PLACES)])
    }

    fn place(&self, shingle: u32) -> usize {
        shingle as usize & (self.0.len() - 1)
    }
}

/// Without a random key, so that results and their order never change.
type Hasher = BuildHasherDefault<DefaultHasher>;

impl<'a> NearIndex<'a> {
    /// Prepares `texts`; from `threshold` on, in 0..=1, two texts count as near.
    ///
    /// Takes some 180 bytes for a text of 16 words beside the text.
    pub fn new<T: AsRef<str> + ?Sized + 'a>(texts: impl IntoIterator<Item = &'a T>, threshold: f64) -> Self {
        let texts: Vec<&str> = texts.into_iter().map(AsRef::as_ref).collect();
        let classes = |form: &dyn Fn(&str) -> u64| Classes::new(texts.iter().map(|text| form(text)));
        let exact = classes(&|text| hash(text));
        let normalised = classes(&|text| hash(normalised(text).as_str()));
        let masked = classes(&|text| hash(masked(text).as_str()));
        let mut counts = Counts::of_rows(texts.len());
        let (mut all, mut rarest) = (0, 0);
        for text in masked.first_rows().map(|row| texts[row]) {
            let own = shingles(&words(&self::masked(text)));
            (all, rarest) = (all + own.len(), rarest + prefix_length(own.len(), threshold));
            for shingle in own {
                let place = counts.place(shingle);
                counts.0[place] = counts.0[place].saturating_add(1);
            }
        }
        let rows = texts.len();
        let mut index = Self {
            texts,
            threshold,
            exact,
            normalised,
            masked,
            shingles: Sets { shingles: Vec::with_capacity(all), ends: Vec::with_capacity(rows) },
            counts,
            prefixes: Rows(Vec::with_capacity(rarest)),
            beginnings: Rows::default(),
        };
        for row in 0..rows {
            if index.masked.first[row] as usize == row {
                index.add(row);
            }
            index.shingles.ends.push(index.shingles.shingles.len());
        }
        for rows in [&mut index.prefixes, &mut index.beginnings] {
            rows.0.sort_unstable();
            rows.0.shrink_to_fit();
        }
        index
    }

    fn add(&mut self, row: usize) {
        let masked = masked(self.texts[row]);
        let words = words(&masked);
        let shingles = shingles(&words);
        let number = row as u32;
        self.prefixes.0.extend(self.prefix(&shingles).into_iter().map(|shingle| (shingle, number)));
        self.shingles.shingles.extend(shingles);
        let first = words.get(..CONTAINED_WORDS);
        if let Some(first) = first.filter(|_| is_more_than_chance(&masked, words.len())) {
            self.beginnings.0.push((short_hash(first), number));
        }
    }

    /// The text of a row.
    pub fn text(&self, row: usize) -> &'a str {
        self.texts[row]
    }

    /// The first row that is equal to `row` as `kind` says; of `Near` as of `Masked`.
    pub fn first_equal(&self, row: usize, kind: Kind) -> usize {
        let classes = match kind {
            Kind::Exact => &self.exact,
            Kind::Normalised => &self.normalised,
            Kind::Masked | Kind::Near => &self.masked,
        };
        classes.first[row] as usize
    }

    /// Rows near to `row`, the first of those that are equal as `Masked` says, with their similarity; in order.
    pub fn near(&self, row: usize) -> Vec<(usize, f64)> {
        let first = self.first_equal(row, Kind::Masked);
        self.near_to(self.shingles.of(first), Some(first))
    }

    /// Rows that are close to `text`.
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
        let normalised = normalised(text);
        let class = |classes: &Classes, hash: u64, is_equal: &dyn Fn(&str) -> bool| {
            let mut rows = classes.by_hash.of(hash as u32).map(|row| row as usize);
            rows.find(|row| is_equal(self.texts[*row]))
        };
        let equal = [
            (Kind::Exact, class(&self.exact, hash(text), &|own| own == text)),
            (
                Kind::Normalised,
                class(&self.normalised, hash(normalised.as_str()), &|own| {
                    self::normalised(own) == normalised
                }),
            ),
            (Kind::Masked, class(&self.masked, hash(masked), &|own| self::masked(own) == masked)),
        ];
        let near = self.near_to(&shingles(words), equal[2].1);
        let equal = equal.into_iter().filter_map(|(kind, row)| Some(Match { row: row?, kind, jaccard: 1.0 }));
        equal.chain(near.into_iter().map(|(row, jaccard)| Match { row, kind: Kind::Near, jaccard })).collect()
    }

    /// First rows of classes with similar shingles, but for the class of `own`.
    fn near_to(&self, shingles: &[u32], own: Option<usize>) -> Vec<(usize, f64)> {
        let prefix = self.prefix(shingles);
        let mut candidates: Vec<u32> = prefix.iter().flat_map(|shingle| self.prefixes.of(*shingle)).collect();
        candidates.sort_unstable();
        candidates.dedup();
        let candidates = candidates.into_iter().map(|row| row as usize).filter(|row| Some(*row) != own);
        let similar = candidates.map(|row| (row, jaccard(self.shingles.of(row), shingles)));
        similar.filter(|(_, jaccard)| *jaccard >= self.threshold).collect()
    }

    /// Rows whose words follow each other in `words`.
    fn contained(&self, words: &[u64]) -> Vec<Match> {
        let mut found = Vec::new();
        for (at, window) in words.windows(CONTAINED_WORDS).enumerate() {
            for row in self.beginnings.of(short_hash(window)) {
                if words[at..].starts_with(&self::words(&masked(self.texts[row as usize]))) {
                    found.push(Match { row: row as usize, kind: Kind::Masked, jaccard: 1.0 });
                }
            }
        }
        found
    }

    /// The rarest shingles, of which two near texts share at least one; those of no row, the rarest of all, are left
    /// out, since they lead nowhere. A text without words has none.
    fn prefix(&self, shingles: &[u32]) -> Vec<u32> {
        let counted = |shingle: &u32| (self.counts.0[self.counts.place(*shingle)], *shingle);
        let mut rare: Vec<(u16, u32)> =
            shingles.iter().map(counted).filter(|(count, _)| *count > 0).collect();
        let of_no_row = shingles.len() - rare.len();
        let length = prefix_length(shingles.len(), self.threshold).saturating_sub(of_no_row);
        rare.sort_unstable();
        rare.truncate(length);
        rare.into_iter().map(|(_, shingle)| shingle).collect()
    }
}

/// Rarest shingles of a text with so many, of which two near texts share at least one.
fn prefix_length(shingles: usize, threshold: f64) -> usize {
    // A hair below the product, so that rounding never makes the prefix too short.
    let shared = (threshold * shingles as f64 - 1e-9).ceil().max(1.0) as usize;
    (shingles + 1).saturating_sub(shared)
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
    let mut words = Vec::new();
    for run in runs(masked) {
        if run.is_ascii() && run.len() <= MAX_WORD_CHARS {
            words.push(hash(run));
            continue;
        }
        let mut rest = run;
        while let Some(first) = rest.chars().next() {
            let own = unspaced(first);
            let end = rest.find(|c| unspaced(c) != own).unwrap_or(rest.len());
            let (part, after) = rest.split_at(end);
            rest = after;
            match part.chars().count() {
                _ if own => words.extend(part.chars().map(|c| hash(c.encode_utf8(&mut [0; 4])))),
                0..=MAX_WORD_CHARS => words.push(hash(part)),
                _ => {
                    let characters: Vec<char> = part.chars().collect();
                    words.extend(characters.windows(PIECE_CHARS).map(hash));
                }
            }
        }
    }
    words
}

/// The words and unbroken runs of a masked text.
fn runs(masked: &str) -> impl Iterator<Item = &str> {
    masked.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|run| !run.is_empty())
}

/// Whether a masked text of so many words is long enough to mean something where it stands inside another one.
fn is_more_than_chance(masked: &str, words: usize) -> bool {
    // Each character that counts as a word counts half.
    2 * words >= 2 * CONTAINED_WORDS + masked.chars().filter(|c| unspaced(*c)).count()
}

/// Whether a character belongs to a script that writes words without spaces between them.
///
/// Source: blocks of the Unicode Standard, and its annex 14 on scripts that need a dictionary to break lines.
fn unspaced(c: char) -> bool {
    matches!(u32::from(c),
        // Thai and Lao; Burmese; Khmer; Tai scripts; Balinese; Javanese.
        0x0e00..=0x0eff | 0x1000..=0x109f | 0x1780..=0x17ff | 0x1950..=0x19df | 0x1a20..=0x1aaf | 0x1b00..=0x1b7f
        | 0xa980..=0xa9ff | 0xaa60..=0xaadf
        // Radicals, kana, bopomofo and ideographs.
        | 0x2e80..=0x2fdf | 0x3005..=0x3007 | 0x3021..=0x3029 | 0x3040..=0x312f | 0x31a0..=0x31bf | 0x31f0..=0x31ff
        | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0xff66..=0xff9f | 0x1aff0..=0x1b16f
        | 0x20000..=0x3ffff)
}

/// Distinct shingles, sorted; a text of fewer words is one shingle, one without words has none.
fn shingles(words: &[u64]) -> Vec<u32> {
    let mut shingles: Vec<u32> = match words.len() {
        0 => Vec::new(),
        1..SHINGLE_WORDS => vec![short_hash(words)],
        _ => words.windows(SHINGLE_WORDS).map(short_hash).collect(),
    };
    shingles.sort_unstable();
    shingles.dedup();
    shingles
}

/// Shared shingles by all shingles of two sorted sets.
fn jaccard(a: &[u32], b: &[u32]) -> f64 {
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

fn short_hash<T: std::hash::Hash + ?Sized>(value: &T) -> u32 {
    hash(value) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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
            let rows: BTreeSet<usize> =
                index.matches_in_document(document).iter().map(|found| found.row).collect();
            rows.into_iter().collect()
        };
        let long = "he read aloud: Urgent! You have won a 900 pound prize today. nobody laughed";
        assert_eq!(found(long), [0]);
        assert_eq!(found("one\nok see you\nthree"), [1]);
        assert_eq!(found("he said ok see you and left"), [0; 0], "too short to be more than chance");
    }

    fn found(rows: &[&str], threshold: f64, text: &str) -> Vec<(usize, Kind)> {
        let rows = owned(rows);
        let index = NearIndex::new(&rows, threshold);
        index.matches(text).iter().map(|found| (found.row, found.kind)).collect()
    }

    #[test]
    fn texts_without_spaces_are_near_by_their_characters() {
        let chinese =
            ["恭喜您获得一等奖请立即拨打客服电话领取您的奖金", "今天晚上一起去吃饭吗我在公司门口等你下班"];
        let other_end = "恭喜您获得一等奖请立即拨打客服电话领取您的奖品";
        assert_eq!(found(&chinese, 0.8, other_end), [(0, Kind::Near)]);
        assert_eq!(found(&chinese, 0.8, "明天早上一起去跑步吗我在学校门口等你放学"), []);
        let japanese = ["お客様のアカウントは停止されました。すぐに確認してください"];
        assert_eq!(
            found(&japanese, 0.7, "お客様のアカウントは停止されました。すぐに確認して下さい"),
            [(0, Kind::Near)]
        );
        let thai = ["ขอแสดงความยินดีคุณได้รับรางวัลใหญ่กรุณาติดต่อกลับทันที"];
        assert_eq!(found(&thai, 0.7, "ขอแสดงความยินดีคุณได้รับรางวัลใหญ่กรุณาติดต่อกลับด่วน"), [(0, Kind::Near)]);
        assert_eq!(found(&thai, 0.8, "พรุ่งนี้เช้าเราจะไปตลาดด้วยกันไหมฉันจะรอที่หน้าบ้าน"), []);
    }

    #[test]
    fn a_chinese_row_is_found_inside_a_longer_text_unless_it_is_short() {
        let rows = owned(&["恭喜您获得一等奖请立即拨打客服电话", "今天晚上一起去吃饭"]);
        let index = NearIndex::new(&rows, 0.8);
        let document = "他念道恭喜您获得一等奖请立即拨打客服电话然后大家都笑了今天晚上一起去吃饭他说";
        assert_eq!(
            index.matches_in_document(document).iter().map(|found| found.row).collect::<Vec<_>>(),
            [0]
        );
    }

    #[test]
    fn long_runs_without_a_space_are_near_by_their_pieces() {
        let letters = |seed: u64| -> String {
            let mut state = seed;
            let mut letter = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ["a", "c", "g", "t"][(state >> 62) as usize]
            };
            (0..300).map(|_| letter()).collect()
        };
        let one = letters(3);
        let mut close = one.clone();
        close.replace_range(150..151, "x");
        assert_eq!(found(&[&one], 0.8, &close), [(0, Kind::Near)]);
        assert_eq!(found(&[&one], 0.8, &letters(5)), []);
    }

    proptest! {
        #[test]
        fn words_with_spaces_between_them_count_as_they_stand(text in "[a-zäßéа-я0_ ,.!한국어]{0,80}") {
            let masked = masked(&text);
            let whole: Vec<u64> = runs(&masked).filter(|run| run.chars().count() <= MAX_WORD_CHARS).map(hash).collect();
            prop_assume!(runs(&masked).all(|run| run.chars().count() <= MAX_WORD_CHARS));
            prop_assert_eq!(words(&masked), whole);
        }

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
            let found: BTreeSet<usize> = index.matches(&query).iter().map(|found| found.row).collect();
            let own = shingles(&words(&masked(&query)));
            let near = |row: &usize| jaccard(&shingles(&words(&masked(&rows[*row]))), &own) >= threshold;
            let expected: BTreeSet<usize> =
                (0..rows.len()).filter(near).map(|row| index.first_equal(row, Kind::Near)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
