//! Texts of one part that occur in another: between labelled parts, within one, and in a corpus of any size.
//!
//! Memory grows with the labelled rows alone; a corpus streams through in pieces.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use rayon::prelude::*;

use super::corpus::{Corpus, CorpusConfig, Remarks};
use super::labelled::Example;
use super::near::{Kind, Match, NearIndex};
use crate::error::Result;
use crate::progress::Progress;

/// Documents are searched in parallel in pieces of about this size; memory use is a small multiple of it.
const PIECE_BYTES: usize = 8 << 20;
/// Rows are searched in parallel in pieces of so many.
const PIECE_ROWS: usize = 1 << 14;
/// Characters of a found text that are kept to be shown.
const SHOWN_CHARS: usize = 200;

/// A labelled part under its name.
pub struct AuditPart<'a> {
    /// Such as `test`.
    pub name: String,
    /// Texts in row order.
    pub texts: Vec<&'a str>,
}

impl<'a> AuditPart<'a> {
    /// These rows under that name.
    pub fn of(name: &str, rows: &'a [Example]) -> Self {
        Self { name: name.into(), texts: rows.iter().map(|row| row.text.as_str()).collect() }
    }
}

/// The text that is closest to a row.
#[derive(Clone)]
pub struct Closest<'a> {
    /// How close it is.
    pub kind: Kind,
    /// Jaccard similarity of the shingles; 1 for all kinds but `Near`.
    pub jaccard: f64,
    /// Its beginning.
    pub text: Cow<'a, str>,
}

/// Which rows of one part occur in another; `with` is `part` itself for rows that repeat an earlier one.
pub struct Overlaps<'a> {
    /// Whose rows.
    pub part: String,
    /// Where they were looked for.
    pub with: String,
    /// What was found, by row.
    pub found: BTreeMap<usize, Closest<'a>>,
}

/// What a search of all parts found.
pub struct Audit<'a> {
    /// Of each part with itself, with those before it, and with the corpora.
    pub overlaps: Vec<Overlaps<'a>>,
    /// In the corpora.
    pub documents: u64,
}

/// Name of the corpus in [`Overlaps::with`].
pub const CORPUS: &str = "corpus";

/// Searches each part in itself, in the parts before it, and in the corpora, which count as one.
///
/// Errors: as reading a corpus.
pub fn audit<'a>(
    parts: &[AuditPart<'a>],
    corpora: &[CorpusConfig],
    threshold: f64,
    progress: &Progress,
) -> Result<Audit<'a>> {
    let index = NearIndex::new(parts.iter().flat_map(|part| part.texts.iter().copied()), threshold);
    let mut ends = 0;
    let rows: Vec<Range<usize>> = parts
        .iter()
        .map(|part| {
            ends += part.texts.len();
            ends - part.texts.len()..ends
        })
        .collect();
    let of_part = |part: usize, with: &str, closest: &dyn Fn(usize) -> Option<Closest<'a>>| Overlaps {
        part: parts[part].name.clone(),
        with: with.into(),
        found: rows[part].clone().filter_map(|row| Some((row - rows[part].start, closest(row)?))).collect(),
    };
    let mut overlaps = BTreeMap::new();
    for (other, range) in rows.iter().enumerate() {
        let earlier = Earlier::new(range.clone(), &index);
        for part in other..parts.len() {
            let closest = |row| earlier.closest(row, &index);
            overlaps.insert((part, other), of_part(part, &parts[other].name, &closest));
        }
    }
    let mut overlaps: Vec<Overlaps> = overlaps.into_values().collect();
    let (mut found, mut documents) = (Found::new(), 0);
    for config in corpora {
        documents += search_corpus(config, &index, &mut found, progress)?;
    }
    if !corpora.is_empty() {
        let closest =
            |row| KINDS.iter().find_map(|kind| found.get(&(*kind, index.first_equal(row, *kind))).cloned());
        overlaps.extend((0..parts.len()).map(|part| of_part(part, CORPUS, &closest)));
    }
    Ok(Audit { overlaps, documents })
}

/// Ways to be equal, closest first; near texts are found with those that are equal but for digits.
const KINDS: [Kind; 3] = [Kind::Exact, Kind::Normalised, Kind::Masked];

/// The rows of a part, where they are looked for by later rows of it and of the parts after it.
struct Earlier {
    rows: Range<usize>,
    /// By kind, what is equal to rows before the part: (first row of all, first row of the part), in order.
    equal: [Vec<(u32, u32)>; 3],
    /// The first of the rows that are equal but for digits, a row of the part that is near to them, and how similar they
    /// are; in order.
    near: Vec<(u32, u32, f64)>,
}

impl Earlier {
    fn new(rows: Range<usize>, index: &NearIndex<'_>) -> Self {
        let equal = KINDS.map(|kind| {
            let firsts = rows.clone().map(|row| (index.first_equal(row, kind) as u32, row as u32));
            let mut firsts: Vec<(u32, u32)> =
                firsts.filter(|(first, _)| (*first as usize) < rows.start).collect();
            firsts.sort_unstable();
            firsts.dedup_by_key(|(first, _)| *first);
            firsts
        });
        let own = rows.clone().filter(|row| index.first_equal(*row, Kind::Masked) == *row);
        let firsts: Vec<u32> =
            own.map(|row| row as u32).chain(equal[2].iter().map(|(_, row)| *row)).collect();
        let mut near = Vec::new();
        for piece in firsts.chunks(PIECE_ROWS) {
            let of_row = |row: &u32| -> Vec<(u32, u32, f64)> {
                let close = index.near(*row as usize).into_iter();
                close.map(|(close, jaccard)| (close as u32, *row, jaccard)).collect()
            };
            near.extend(piece.par_iter().map(of_row).collect::<Vec<_>>().concat());
        }
        near.sort_unstable_by_key(|(close, row, _)| (*close, *row));
        Self { rows, equal, near }
    }

    /// The closest row before `row`, the first of equals.
    fn closest<'a>(&self, row: usize, index: &NearIndex<'a>) -> Option<Closest<'a>> {
        let found = |at: u32, kind, jaccard| {
            Some(Closest { kind, jaccard, text: Cow::Borrowed(beginning(index.text(at as usize))) })
        };
        for (kind, firsts) in KINDS.into_iter().zip(&self.equal) {
            let first = index.first_equal(row, kind) as u32;
            let at = match self.rows.contains(&(first as usize)) {
                true => Some(first),
                false => {
                    firsts.binary_search_by_key(&first, |(first, _)| *first).ok().map(|place| firsts[place].1)
                }
            };
            if let Some(at) = at.filter(|at| (*at as usize) < row) {
                return found(at, kind, 1.0);
            }
        }
        let class = index.first_equal(row, Kind::Near) as u32;
        let from = self.near.partition_point(|(close, ..)| *close < class);
        let near =
            self.near[from..].iter().take_while(|(close, at, _)| *close == class && (*at as usize) < row);
        let nearer = |one: (u32, f64), other: (u32, f64)| if other.1 > one.1 { other } else { one };
        let (at, jaccard) = near.map(|(_, at, jaccard)| (*at, *jaccard)).reduce(nearer)?;
        found(at, Kind::Near, jaccard)
    }
}

/// What stands in the corpora, by kind and the first of the rows that are equal in that way.
type Found = BTreeMap<(Kind, usize), Closest<'static>>;

/// Adds what occurs in the corpus to `found`; the number of documents.
fn search_corpus(
    config: &CorpusConfig,
    index: &NearIndex<'_>,
    found: &mut Found,
    progress: &Progress,
) -> Result<u64> {
    let corpus = Corpus::open(config)?;
    let bar = progress.bar("searching corpus", corpus.bytes());
    let (mut piece, mut piece_bytes, mut bytes, mut documents) = (Vec::new(), 0, 0, 0);
    let mut search = |piece: &mut Vec<String>| {
        let matches: Vec<Vec<Match>> =
            piece.par_iter().map(|document| index.matches_in_document(document)).collect();
        for (document, matches) in piece.iter().zip(matches) {
            keep_closest(found, matches, document);
        }
        piece.clear();
    };
    let remarks = corpus.for_each(|_, document| {
        documents += 1;
        piece_bytes += document.len();
        piece.push(document);
        if piece_bytes >= PIECE_BYTES {
            bytes += std::mem::take(&mut piece_bytes) as u64;
            search(&mut piece);
            bar.advance_to(bytes, || "bytes".into());
        }
        Ok(())
    })?;
    search(&mut piece);
    // What a pre-training left out is its own matter.
    corpus.warn(&Remarks { left_out: 0, ..remarks }, progress);
    Ok(documents)
}

/// Of several texts close to a row the closest is kept, the first of equals.
fn keep_closest(found: &mut Found, matches: Vec<Match>, text: &str) {
    for Match { row, kind, jaccard } in matches {
        let closer = |old: &Closest| kind < old.kind || (kind == old.kind && jaccard > old.jaccard);
        let place = (kind.min(Kind::Masked), row);
        if found.get(&place).is_none_or(closer) {
            found.insert(place, Closest { kind, jaccard, text: Cow::Owned(beginning(text).into()) });
        }
    }
}

/// What of a text is shown.
fn beginning(text: &str) -> &str {
    let end = text.char_indices().nth(SHOWN_CHARS).map_or(text.len(), |(at, _)| at);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part<'a>(name: &str, texts: &[&'a str]) -> AuditPart<'a> {
        AuditPart { name: name.into(), texts: texts.to_vec() }
    }

    fn rows(overlaps: &[Overlaps<'_>], part: &str, with: &str) -> Vec<(usize, Kind)> {
        let of_pair = overlaps.iter().find(|o| o.part == part && o.with == with).unwrap();
        of_pair.found.iter().map(|(row, found)| (*row, found.kind)).collect()
    }

    #[test]
    fn repeats_within_and_between_parts_and_in_the_corpus() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("corpus.txt");
        std::fs::write(&path, "a line\nWIN A PRIZE 1\nanother\n\nsomething else\n").unwrap();
        let parts = [
            part("train", &["win a prize 1", "hello there", "Hello  there"]),
            part("test", &["win a prize 2", "nothing like it", "hello there"]),
        ];
        let config = CorpusConfig { train: vec![path.display().to_string()], ..CorpusConfig::default() };
        let Audit { overlaps, documents } = audit(&parts, &[config], 0.8, &Progress::silent()).unwrap();
        assert_eq!(documents, 2);
        assert_eq!(rows(&overlaps, "train", "train"), [(2, Kind::Normalised)]);
        assert_eq!(rows(&overlaps, "test", "train"), [(0, Kind::Masked), (2, Kind::Exact)]);
        assert_eq!(rows(&overlaps, "test", "test"), []);
        assert_eq!(rows(&overlaps, "train", CORPUS), [(0, Kind::Normalised)]);
        assert_eq!(rows(&overlaps, "test", CORPUS), [(0, Kind::Masked)]);
    }

    #[test]
    fn many_rows_of_one_template_are_looked_at_as_one() {
        let texts: Vec<String> =
            (0..20_000).map(|row| format!("Your code is {row}, do not share it")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let parts = [part("train", &texts[..15_000]), part("test", &texts[15_000..])];
        let Audit { overlaps, .. } = audit(&parts, &[], 0.8, &Progress::silent()).unwrap();
        let counts: Vec<usize> = overlaps.iter().map(|overlaps| overlaps.found.len()).collect();
        assert_eq!(counts, [14_999, 5000, 4999]);
        assert!(
            overlaps.iter().all(|overlaps| overlaps.found.values().all(|found| found.kind == Kind::Masked))
        );
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_comparing_all_pairs_finds(
            rows in prop::collection::vec(prop::collection::vec(0usize..7, 1..7), 2..24),
            first in 1usize..20,
            threshold in 0.2f64..=1.0,
        ) {
            let words = ["ab", "AB", "cd", "12", "7", "ef", "ef  gh"];
            let texts: Vec<String> =
                rows.iter().map(|row| row.iter().map(|word| words[*word]).collect::<Vec<_>>().join(" ")).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let first = first.min(texts.len() - 1);
            let parts = [part("train", &texts[..first]), part("test", &texts[first..])];
            let ranges = [0..first, first..texts.len()];
            let Audit { overlaps, .. } = audit(&parts, &[], threshold, &Progress::silent()).unwrap();
            for (overlaps, (of, with)) in overlaps.iter().zip([(0, 0), (1, 0), (1, 1)]) {
                for row in ranges[of].clone() {
                    let mut closest: Option<(Kind, f64, &str)> = None;
                    for earlier in ranges[with].clone().filter(|earlier| *earlier < row) {
                        let alone = NearIndex::new([texts[earlier]], threshold);
                        for Match { kind, jaccard, .. } in alone.matches(texts[row]) {
                            if closest.is_none_or(|(old, before, _)| kind < old || (kind == old && jaccard > before)) {
                                closest = Some((kind, jaccard, texts[earlier]));
                            }
                        }
                    }
                    let found = overlaps.found.get(&(row - ranges[of].start));
                    let found = found.map(|found| (found.kind, found.jaccard, &*found.text));
                    prop_assert_eq!(found, closest);
                }
            }
        }
    }
}
