//! A split whose parts share no text, not even nearly, with the label shares of the whole.

use std::collections::BTreeSet;

use rand::Rng;
use rand::seq::SliceRandom;

use super::near::{Kind, NearIndex};
use crate::rng;

/// Rows of each part, and how many groups of close texts they were drawn as.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupedSplit {
    /// Row numbers of each part, rising.
    pub parts: Vec<Vec<usize>>,
    /// Groups of texts that are close to each other, single texts included.
    pub groups: usize,
}

/// Parts the rows by `shares`, which sum to one, so that close texts fall on one side.
///
/// Texts that are close, directly or through others, form a group. Groups come by falling size, in a seeded
/// order among equals, and each goes to the part that lacks most of its labels, measured by what the part
/// should have, among those that have room for it; one that no part has room for goes where there is most. The first
/// part gets the last group of a label that it has no row of yet. Texts are close from a Jaccard similarity of
/// `threshold` on.
pub fn grouped_split(
    texts: &[String],
    labels: &[u32],
    shares: &[f64],
    threshold: f64,
    seed: u64,
) -> GroupedSplit {
    let groups = groups(texts, threshold);
    let parts = deal(&groups, labels, shares, &mut rng::stream(seed, "grouped split", &[]));
    GroupedSplit { parts, groups: groups.len() }
}

/// The rows of each part, rising, when whole groups are dealt as [`grouped_split`] says.
pub(super) fn deal(
    groups: &[Vec<usize>],
    labels: &[u32],
    shares: &[f64],
    rng: &mut impl Rng,
) -> Vec<Vec<usize>> {
    let mut groups: Vec<&Vec<usize>> = groups.iter().collect();
    groups.shuffle(rng);
    groups.sort_by_key(|rows| std::cmp::Reverse(rows.len()));
    let num_labels = labels.iter().max().map_or(0, |label| *label as usize + 1);
    let mut wanted: Vec<Vec<f64>> = shares.iter().map(|_| vec![0.0; num_labels]).collect();
    for label in groups.iter().flat_map(|rows| rows.iter()).map(|row| labels[*row]) {
        wanted.iter_mut().zip(shares).for_each(|(wanted, share)| wanted[label as usize] += share);
    }
    let mut coming = vec![0; num_labels];
    let labels_of = |rows: &[usize]| rows.iter().map(|row| labels[*row] as usize).collect::<BTreeSet<_>>();
    groups.iter().for_each(|rows| labels_of(rows).into_iter().for_each(|label| coming[label] += 1));
    let mut in_first = vec![false; num_labels];
    let mut parts = vec![Vec::new(); shares.len()];
    for rows in groups {
        let own = labels_of(rows);
        own.iter().for_each(|label| coming[*label] -= 1);
        let is_last_chance = own.iter().any(|label| coming[*label] == 0 && !in_first[*label]);
        let part = if is_last_chance { 0 } else { place(rows, labels, shares, &wanted) };
        if part == 0 {
            own.iter().for_each(|label| in_first[*label] = true);
        }
        rows.iter().for_each(|row| wanted[part][labels[*row] as usize] -= 1.0);
        parts[part].extend(rows);
    }
    parts.iter_mut().for_each(|rows| rows.sort_unstable());
    parts
}

/// The part for a group, by the rows of each label that the parts still want.
fn place(rows: &[usize], labels: &[u32], shares: &[f64], wanted: &[Vec<f64>]) -> usize {
    let lack = |part: &usize| -> f64 {
        let of_rows = rows.iter().map(|row| wanted[*part][labels[*row] as usize]);
        of_rows.sum::<f64>() / shares[*part]
    };
    let room = |part: &usize| wanted[*part].iter().sum::<f64>();
    let open = (0..shares.len()).filter(|part| shares[*part] > 0.0);
    // A part of a row is filled up too; rounding leaves none.
    let fitting = open.clone().filter(|part| rows.len() as f64 <= (room(part) - 1e-9).ceil());
    let best = fitting.max_by(|a, b| lack(a).total_cmp(&lack(b)));
    best.or_else(|| open.max_by(|a, b| room(a).total_cmp(&room(b)))).expect("a share above zero")
}

/// Rows connected by closeness.
pub(super) fn groups(texts: &[String], threshold: f64) -> Vec<Vec<usize>> {
    let index = NearIndex::new(texts, threshold);
    let mut parent: Vec<usize> = (0..texts.len()).collect();
    fn root(parent: &mut [usize], mut row: usize) -> usize {
        while parent[row] != row {
            parent[row] = parent[parent[row]];
            row = parent[row];
        }
        row
    }
    for row in 0..texts.len() {
        let first = index.first_equal(row, Kind::Masked);
        let near = if first == row { index.near(row) } else { Vec::new() };
        for close in near.into_iter().map(|(close, _)| close).chain([first]) {
            let (a, b) = (root(&mut parent, row), root(&mut parent, close));
            parent[a.max(b)] = a.min(b);
        }
    }
    let mut groups = vec![Vec::new(); texts.len()];
    for row in 0..texts.len() {
        groups[root(&mut parent, row)].push(row);
    }
    groups.retain(|rows: &Vec<usize>| !rows.is_empty());
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> (Vec<String>, Vec<u32>) {
        // 300 rows, every fifth spam; two spam texts at a time differ by a number alone.
        let word = |n: usize| ["ab", "cd", "ef", "gh", "ij", "kl", "mn"][n % 7].repeat(n / 7 + 1);
        let text = |row: usize| match row % 5 {
            0 => format!("win a prize of kind {} today, call {row}", word(row / 10)),
            _ => format!("{} {} see you then", word(row), word(row / 2)),
        };
        (0..300).map(|row| (text(row), u32::from(row % 5 == 0))).unzip()
    }

    #[test]
    fn close_texts_stay_together_and_label_shares_are_kept() {
        let (texts, labels) = rows();
        let split = grouped_split(&texts, &labels, &[0.7, 0.1, 0.2], 0.8, 1);
        let mut all: Vec<usize> = split.parts.concat();
        all.sort_unstable();
        assert_eq!(all, (0..300).collect::<Vec<_>>());
        assert_eq!(split.parts.iter().map(Vec::len).collect::<Vec<_>>(), [210, 30, 60]);
        for (part, spam) in split.parts.iter().zip([42, 6, 12]) {
            assert_eq!(part.iter().filter(|row| labels[**row] == 1).count(), spam);
        }
        let train: Vec<String> = split.parts[0].iter().map(|row| texts[*row].clone()).collect();
        let index = NearIndex::new(&train, 0.8);
        for row in split.parts[1..].concat() {
            assert!(index.matches(&texts[row]).is_empty(), "{}", texts[row]);
        }
        assert!(split.groups < 300);
    }

    #[test]
    fn the_seed_decides() {
        let (texts, labels) = rows();
        let split = |seed| grouped_split(&texts, &labels, &[0.8, 0.2], 0.8, seed);
        assert_eq!(split(1), split(1));
        assert_ne!(split(1), split(2));
    }

    #[test]
    fn a_large_group_goes_where_there_is_room_and_no_class_leaves_training() {
        // Forty near copies of one class, sixty other texts.
        let word = |n: usize| ["ab", "cd", "ef", "gh", "ij", "kl", "mn"][n % 7].repeat(n / 7 + 1);
        let text = |row: usize| match row {
            0..40 => format!("win a prize today, call {row} now"),
            _ => format!("{} {} see you then", word(row), word(row / 2)),
        };
        let texts: Vec<String> = (0..100).map(text).collect();
        let labels: Vec<u32> = (0..100).map(|row| u32::from(row < 40)).collect();
        for seed in 1..5 {
            let split = grouped_split(&texts, &labels, &[0.7, 0.1, 0.2], 0.8, seed);
            assert_eq!(split.parts.iter().map(Vec::len).collect::<Vec<_>>(), [70, 10, 20]);
            assert!((0..40).all(|row| split.parts[0].contains(&row)));
        }
    }

    #[test]
    fn a_class_in_one_small_group_is_trained_on() {
        let mut texts: Vec<String> = rows().0[..200].to_vec();
        texts.extend(["a rare thing 1".to_string(), "a rare thing 2".to_string()]);
        let mut labels = vec![0; 200];
        labels.extend([1, 1]);
        for seed in 1..5 {
            let split = grouped_split(&texts, &labels, &[0.7, 0.1, 0.2], 0.8, seed);
            assert!(split.parts[0].contains(&200) && split.parts[0].contains(&201), "seed {seed}");
        }
    }

    #[test]
    fn four_texts_fill_three_parts() {
        let texts = ["one cat", "two dogs", "red roses", "blue sky"].map(str::to_string);
        let split = grouped_split(&texts, &[0, 0, 1, 1], &[0.7, 0.1, 0.2], 0.8, 1);
        assert_eq!(split.parts.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 1]);
    }
}
