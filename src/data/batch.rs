//! What the training loop computes on, in host memory.

/// Rows of token ids padded on the right, and what they should predict.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// (B * T) ids, row after row.
    pub input_ids: Vec<u32>,
    /// B.
    pub rows: usize,
    /// T.
    pub seq_len: usize,
    /// Tokens of each row before the padding (B).
    pub lengths: Vec<usize>,
    /// Language model: the next id at each place (B * T), `u32::MAX` where there is none.
    /// Classifier: one label a row (B).
    pub targets: Vec<u32>,
}

impl Batch {
    /// Tokens without padding.
    pub fn tokens(&self) -> u64 {
        self.lengths.iter().map(|n| *n as u64).sum()
    }

    /// Its first rows alone.
    pub fn first(&self, rows: usize) -> Self {
        let targets_per_row = self.targets.len() / self.rows.max(1);
        Self {
            input_ids: self.input_ids[..rows * self.seq_len].to_vec(),
            rows,
            seq_len: self.seq_len,
            lengths: self.lengths[..rows].to_vec(),
            targets: self.targets[..rows * targets_per_row].to_vec(),
        }
    }
}
