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
}
