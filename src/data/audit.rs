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
    let mut rows: Vec<Range<usize>> = Vec::new();
    for part in parts {
        let start = rows.last().map_or(0, |before| before.end);
        rows.push(start..start + part.texts.len());
    }
    let mut in_parts: Vec<Found> =
        parts.iter().zip(&rows).map(|(part, rows)| occurring_in(part, rows.start, &index)).collect();
    let mut in_corpus = Found::new();
    let mut documents = 0;
    for config in corpora {
        documents += search_corpus(config, &index, &mut in_corpus, progress)?;
    }
    let mut overlaps = Vec::new();
    let mut of_part = |part: usize, with: &str, found: &mut Found<'a>| {
        let Range { start, end } = rows[part];
        let later = found.split_off(&end);
        let own = std::mem::replace(found, later).into_iter().map(|(row, closest)| (row - start, closest));
        overlaps.push(Overlaps { part: parts[part].name.clone(), with: with.into(), found: own.collect() });
    };
    for part in 0..parts.len() {
        for (other, found) in parts.iter().zip(&mut in_parts).take(part + 1) {
            of_part(part, &other.name, found);
        }
    }
    if !corpora.is_empty() {
        (0..parts.len()).for_each(|part| of_part(part, CORPUS, &mut in_corpus));
    }
    Ok(Audit { overlaps, documents })
}

/// By row of the index, the closest text found.
type Found<'a> = BTreeMap<usize, Closest<'a>>;

/// What occurs in a part whose first row has number `start`: later rows of it and of the parts after it.
fn occurring_in<'a>(part: &AuditPart<'a>, mut start: usize, index: &NearIndex<'_>) -> Found<'a> {
    let mut found = Found::new();
    for piece in part.texts.chunks(PIECE_ROWS) {
        let matches: Vec<Vec<Match>> = piece.par_iter().map(|text| index.matches(text)).collect();
        for (at, matches) in matches.into_iter().enumerate() {
            let later = matches.into_iter().filter(|found| found.row > start + at);
            keep_closest(&mut found, later, || Cow::Borrowed(beginning(piece[at])));
        }
        start += piece.len();
    }
    found
}

/// Adds what occurs in the corpus to `found`; the number of documents.
fn search_corpus(
    config: &CorpusConfig,
    index: &NearIndex<'_>,
    found: &mut Found<'_>,
    progress: &Progress,
) -> Result<u64> {
    let corpus = Corpus::open(config)?;
    let bar = progress.bar("searching corpus", corpus.bytes());
    let (mut piece, mut piece_bytes, mut bytes, mut documents) = (Vec::new(), 0, 0, 0);
    let mut search = |piece: &mut Vec<String>| {
        let matches: Vec<Vec<Match>> =
            piece.par_iter().map(|document| index.matches_in_document(document)).collect();
        for (document, matches) in piece.iter().zip(matches) {
            keep_closest(found, matches.into_iter(), || Cow::Owned(beginning(document).into()));
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

/// What of a text is shown.
fn beginning(text: &str) -> &str {
    let end = text.char_indices().nth(SHOWN_CHARS).map_or(text.len(), |(at, _)| at);
    &text[..end]
}

/// Of several texts close to a row the closest is kept, the first of equals.
fn keep_closest<'a>(
    found: &mut Found<'a>,
    matches: impl Iterator<Item = Match>,
    text: impl Fn() -> Cow<'a, str>,
) {
    for new in matches {
        let Match { row, kind, jaccard } = new;
        let closer = |old: &Closest| kind < old.kind || (kind == old.kind && jaccard > old.jaccard);
        if found.get(&row).is_none_or(closer) {
            found.insert(row, Closest { kind, jaccard, text: text() });
        }
    }
}

#[cfg(test)]
mod tests {
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
}
