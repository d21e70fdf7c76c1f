//! The data inside the program: large enough, no copies, nothing of one part in another.

use std::collections::{HashMap, HashSet};

use train::data::demo::{self, Part};

/// (label, text) of each row of a part.
fn rows(part: Part) -> Vec<(&'static str, &'static str)> {
    demo::messages(part).lines().map(|line| line.split_once('\t').expect("label, tab, text")).collect()
}

const PARTS: [Part; 3] = [Part::Train, Part::Validation, Part::Test];

/// Lower case, letters and digits alone.
fn bare(text: &str) -> String {
    text.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect()
}

/// Runs of three words, in lower case and without punctuation; a shorter text is one run.
fn shingles(text: &str) -> HashSet<Vec<String>> {
    let words: Vec<String> = text.split_whitespace().map(bare).filter(|word| !word.is_empty()).collect();
    if words.len() < 3 { HashSet::from([words]) } else { words.windows(3).map(<[String]>::to_vec).collect() }
}

fn documents() -> Vec<&'static str> {
    let texts = demo::corpus().iter().flat_map(|(_, text)| text.split("\n\n"));
    texts.map(str::trim).filter(|document| !document.is_empty()).collect()
}

#[test]
fn there_are_enough_messages_and_few_are_spam() {
    let all: Vec<_> = PARTS.into_iter().flat_map(rows).collect();
    assert!(all.len() >= 1600, "{} messages", all.len());
    assert!(all.iter().all(|(label, _)| ["ham", "spam"].contains(label)));
    let share = |rows: &[(&str, &str)]| {
        rows.iter().filter(|(label, _)| *label == "spam").count() as f64 / rows.len() as f64
    };
    assert!((0.11..=0.16).contains(&share(&all)), "{:.3} spam", share(&all));
    for part in PARTS {
        let share = share(&rows(part));
        assert!((0.10..=0.16).contains(&share), "{part:?}: {share:.3} spam");
    }
}

#[test]
fn no_message_stands_twice() {
    let mut seen = HashMap::new();
    for part in PARTS {
        for (_, text) in rows(part) {
            let before = seen.insert(bare(text), text);
            assert!(before.is_none(), "{part:?}: '{text}' is '{}'", before.unwrap_or_default());
        }
    }
}

#[test]
fn no_message_is_nearly_one_of_another_part() {
    let sets: Vec<(Part, &str, HashSet<Vec<String>>)> = PARTS
        .into_iter()
        .flat_map(|part| rows(part).into_iter().map(move |(_, text)| (part, text, shingles(text))))
        .collect();
    // Only texts with a run in common can be alike.
    let mut holders: HashMap<&Vec<String>, Vec<usize>> = HashMap::new();
    for (at, (_, _, set)) in sets.iter().enumerate() {
        for shingle in set {
            holders.entry(shingle).or_default().push(at);
        }
    }
    let mut alike = Vec::new();
    for (at, (part, text, set)) in sets.iter().enumerate() {
        let mut common: HashMap<usize, usize> = HashMap::new();
        for other in set.iter().flat_map(|shingle| &holders[shingle]) {
            *common.entry(*other).or_default() += 1;
        }
        for (other, common) in common.into_iter().filter(|(other, _)| *other > at && sets[*other].0 != *part)
        {
            let all = set.len() + sets[other].2.len() - common;
            if 2 * common >= all {
                alike.push((*text, sets[other].1));
            }
        }
    }
    assert!(alike.is_empty(), "{} pairs: {:#?}", alike.len(), &alike[..alike.len().min(5)]);
}

#[test]
fn the_corpus_is_large_and_no_document_stands_twice() {
    let bytes: usize = demo::corpus().iter().map(|(_, text)| text.len()).sum();
    assert!(bytes >= 500_000, "{bytes} bytes");
    let mut seen = HashSet::new();
    for document in documents() {
        assert!(seen.insert(bare(document)), "twice in the corpus: {document}");
    }
}

#[test]
fn no_message_is_a_line_of_the_corpus() {
    let lines: HashSet<String> = documents().iter().flat_map(|document| document.lines()).map(bare).collect();
    for part in PARTS {
        for (_, text) in rows(part) {
            assert!(!lines.contains(&bare(text)), "{part:?}: '{text}' is in the corpus");
        }
    }
}
