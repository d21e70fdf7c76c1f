//! What the training loop computes on, in host memory.

/// Token sequences of any lengths, one after the other, and what they should predict.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Ids of all tokens (N), sequence after sequence.
    pub ids: Vec<u32>,
    /// Tokens of each sequence (B); their sum is N.
    pub lengths: Vec<usize>,
    /// Language model: the id that follows each token (N). Classifier: the label of each sequence (B).
    pub targets: Vec<u32>,
}

impl Batch {
    /// For a language model: each window predicts its own next ids, so it gives one token less than it has.
    pub fn of_windows<W: AsRef<[u32]>>(windows: impl Iterator<Item = W>) -> Self {
        let mut batch = Self::default();
        for window in windows {
            let Some((_, targets)) = window.as_ref().split_first() else { continue };
            batch.ids.extend_from_slice(&window.as_ref()[..targets.len()]);
            batch.targets.extend_from_slice(targets);
            batch.lengths.push(targets.len());
        }
        batch
    }

    /// Tokens of all sequences, N.
    pub fn tokens(&self) -> u64 {
        self.ids.len() as u64
    }

    /// The id after each token of its sequence (N); `none` after the last.
    pub fn next_ids(&self, none: u32) -> Vec<u32> {
        let mut next: Vec<u32> = self.ids.iter().copied().skip(1).chain([none]).collect();
        let mut end = 0;
        for length in &self.lengths {
            end += length;
            next[end - 1] = none;
        }
        next
    }

    /// Its first sequences alone.
    pub fn first(&self, sequences: usize) -> Self {
        let tokens = self.lengths[..sequences].iter().sum();
        let one_per_token = self.targets.len() == self.ids.len();
        let targets = if one_per_token { tokens } else { sequences };
        Self {
            ids: self.ids[..tokens].to_vec(),
            lengths: self.lengths[..sequences].to_vec(),
            targets: self.targets[..targets].to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_predicts_its_own_next_ids() {
        let batch = Batch::of_windows([&[1u32, 2, 3][..], &[4, 5]].into_iter());
        assert_eq!((batch.ids, batch.targets, batch.lengths), (vec![1, 2, 4], vec![2, 3, 5], vec![2, 1]));
    }

    #[test]
    fn the_first_sequences_keep_their_own_targets() {
        let of_tokens = Batch { ids: vec![1, 2, 3, 4, 5], lengths: vec![2, 3], targets: vec![2, 9, 4, 5, 9] };
        let first = of_tokens.first(1);
        assert_eq!((first.ids, first.lengths, first.targets), (vec![1, 2], vec![2], vec![2, 9]));
        let of_sequences = Batch { targets: vec![7, 8], ..of_tokens };
        assert_eq!(of_sequences.first(1).targets, [7]);
    }

    #[test]
    fn no_sequence_predicts_the_next_one() {
        let batch = Batch { ids: vec![1, 2, 3, 4, 5, 6], lengths: vec![2, 1, 3], targets: vec![] };
        assert_eq!(batch.next_ids(99), [2, 99, 99, 5, 6, 99]);
    }
}
