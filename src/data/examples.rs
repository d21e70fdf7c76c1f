//! Labelled rows as token ids, in batches.

use super::batch::Batch;
use super::labelled::Example;
use super::sampler::RowSampler;
use crate::error::Result;
use crate::tokenizer::Tokenizer;

/// Texts that are best encoded at once: the tokenizer's own record of a text is some sixty times as long as the text.
pub const TEXTS_AT_ONCE: usize = 4096;

/// Encoded rows of one part.
#[derive(Default)]
pub struct Examples {
    /// Ids of all rows, one behind the other.
    ids: Vec<u32>,
    /// Where each row ends in `ids`.
    ends: Vec<usize>,
    labels: Vec<u32>,
    /// Whether each row was longer than `max_tokens` and lost its end.
    cut: Vec<bool>,
}

impl Examples {
    /// Encodes each text, cut to `max_tokens` ids; an end of text that the tokenizer adds stays the last of
    /// them. An empty text still has one token.
    pub fn encode(tokenizer: &Tokenizer, examples: &[Example], max_tokens: usize) -> Result<Self> {
        let mut encoded = Self::default();
        for piece in examples.chunks(TEXTS_AT_ONCE) {
            let texts: Vec<String> = piece.iter().map(|example| example.text.clone()).collect();
            encoded.extend(tokenizer, &texts, max_tokens)?;
        }
        encoded.labels = examples.iter().map(|example| example.label).collect();
        Ok(encoded)
    }

    /// Adds texts in the same way, with the first label; some `TEXTS_AT_ONCE`.
    pub fn extend(&mut self, tokenizer: &Tokenizer, texts: &[String], max_tokens: usize) -> Result<()> {
        let end = tokenizer.end_of_text();
        for mut row in tokenizer.encode_batch(texts)? {
            let ends = row.last() == Some(&end);
            self.cut.push(row.len() > max_tokens);
            row.truncate(max_tokens);
            match row.last_mut() {
                Some(last) if ends => *last = end,
                Some(_) => {}
                None => row.push(end),
            }
            self.ids.extend(row);
            self.ends.push(self.ids.len());
        }
        self.labels.resize(self.len(), 0);
        Ok(())
    }

    fn row(&self, row: usize) -> &[u32] {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.ids[start..self.ends[row]]
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Label of each row.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Whether each row was longer than the longest allowed and lost its end.
    pub fn cut(&self) -> &[bool] {
        &self.cut
    }

    /// Rows that lost their end.
    pub fn truncated(&self) -> usize {
        self.cut.iter().filter(|cut| **cut).count()
    }

    /// Tokens of each row.
    pub fn lengths(&self) -> Vec<usize> {
        (0..self.len()).map(|row| self.row(row).len()).collect()
    }

    /// Mean over the rows of the tokens that follow another of the same row.
    pub fn mean_predicted_tokens(&self) -> f64 {
        let predicted: usize = self.lengths().iter().map(|length| length.saturating_sub(1)).sum();
        predicted as f64 / self.len().max(1) as f64
    }

    /// Training order of these rows.
    pub fn sampler(&self, rows_per_batch: usize, seed: u64) -> RowSampler {
        RowSampler::new(self.len(), rows_per_batch, seed)
    }

    /// All rows once, longest together, for evaluation.
    pub fn by_length(&self, rows_per_batch: usize) -> Vec<Vec<usize>> {
        let mut rows: Vec<usize> = (0..self.len()).collect();
        rows.sort_by_key(|row| self.row(*row).len());
        rows.chunks(rows_per_batch.max(1)).map(<[usize]>::to_vec).collect()
    }

    /// These rows and their labels.
    pub fn batch(&self, rows: &[usize]) -> Batch {
        let ids = rows.iter().map(|row| self.row(*row));
        Batch {
            ids: ids.clone().flatten().copied().collect(),
            lengths: ids.map(<[u32]>::len).collect(),
            targets: rows.iter().map(|row| self.labels[*row]).collect(),
        }
    }
}
