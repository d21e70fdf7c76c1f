//! A split whose parts share no text, not even nearly, with the label shares of the whole.

use rand::seq::SliceRandom;

use super::near::NearIndex;
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
/// should have. Texts are close from a Jaccard similarity of `threshold` on.
pub fn grouped_split(
    texts: &[String],
    labels: &[u32],
    shares: &[f64],
    threshold: f64,
    seed: u64,
) -> GroupedSplit {
    let mut groups = groups(texts, threshold);
    groups.shuffle(&mut rng::stream(seed, "grouped split", &[]));
    groups.sort_by_key(|rows| std::cmp::Reverse(rows.len()));
    let num_labels = labels.iter().max().map_or(0, |label| *label as usize + 1);
    let mut wanted: Vec<Vec<f64>> = shares.iter().map(|_| vec![0.0; num_labels]).collect();
    for &label in labels {
        wanted.iter_mut().zip(shares).for_each(|(wanted, share)| wanted[label as usize] += share);
    }
    let mut parts = vec![Vec::new(); shares.len()];
    for rows in &groups {
        let lack = |part: &usize| -> f64 {
            let of_rows = rows.iter().map(|row| wanted[*part][labels[*row] as usize]);
            of_rows.sum::<f64>() / shares[*part]
        };
        let open = (0..shares.len()).filter(|part| shares[*part] > 0.0);
        let part = open.max_by(|a, b| lack(a).total_cmp(&lack(b))).expect("a share above zero");
        rows.iter().for_each(|row| wanted[part][labels[*row] as usize] -= 1.0);
        parts[part].extend(rows);
    }
    parts.iter_mut().for_each(|rows| rows.sort_unstable());
    GroupedSplit { parts, groups: groups.len() }
}

/// Rows connected by closeness.
fn groups(texts: &[String], threshold: f64) -> Vec<Vec<usize>> {
    let index = NearIndex::new(texts, threshold);
    let mut parent: Vec<usize> = (0..texts.len()).collect();
    fn root(parent: &mut [usize], mut row: usize) -> usize {
        while parent[row] != row {
            parent[row] = parent[parent[row]];
            row = parent[row];
        }
        row
    }
    for (row, text) in texts.iter().enumerate() {
        for found in index.matches(text) {
            let (a, b) = (root(&mut parent, row), root(&mut parent, found.row));
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
}
