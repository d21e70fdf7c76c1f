//! Labelled rows as token ids, in batches.

use super::batch::Batch;
use super::labelled::Example;
use super::sampler::RowSampler;
use crate::error::Result;
use crate::tokenizer::Tokenizer;

/// Rows whose texts are copied to be encoded.
const ROWS_AT_ONCE: usize = 10_000;

/// Encoded rows of one part.
pub struct Examples {
    ids: Vec<Vec<u32>>,
    labels: Vec<u32>,
    /// Rows that were longer than `max_tokens` and lost their end.
    pub truncated: usize,
}

impl Examples {
    /// Encodes each text, cut to `max_tokens` ids; an end of text that the tokenizer adds stays the last of
    /// them. An empty text still has one token.
    pub fn encode(tokenizer: &Tokenizer, examples: &[Example], max_tokens: usize) -> Result<Self> {
        let mut ids = Vec::with_capacity(examples.len());
        for rows in examples.chunks(ROWS_AT_ONCE) {
            let texts: Vec<String> = rows.iter().map(|row| row.text.clone()).collect();
            ids.extend(tokenizer.encode_batch(&texts)?);
        }
        let end = tokenizer.end_of_text();
        let mut truncated = 0;
        for row in &mut ids {
            let ends = row.last() == Some(&end);
            truncated += usize::from(row.len() > max_tokens);
            row.truncate(max_tokens);
            row.shrink_to_fit();
            match row.last_mut() {
                Some(last) if ends => *last = end,
                Some(_) => {}
                None => row.push(end),
            }
        }
        let labels = examples.iter().map(|example| example.label).collect();
        Ok(Self { ids, labels, truncated })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Label of each row.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Tokens of each row.
    pub fn lengths(&self) -> Vec<usize> {
        self.ids.iter().map(Vec::len).collect()
    }

    /// Mean over the rows of the tokens that follow another of the same row.
    pub fn mean_predicted_tokens(&self) -> f64 {
        let predicted: usize = self.ids.iter().map(|row| row.len().saturating_sub(1)).sum();
        predicted as f64 / self.len().max(1) as f64
    }

    /// Training order of these rows.
    pub fn sampler(&self, rows_per_batch: usize, seed: u64) -> RowSampler {
        RowSampler::new(self.len(), rows_per_batch, seed)
    }

    /// All rows once, longest together, for evaluation.
    pub fn by_length(&self, rows_per_batch: usize) -> Vec<Vec<usize>> {
        let mut rows: Vec<usize> = (0..self.len()).collect();
        rows.sort_by_key(|row| self.ids[*row].len());
        rows.chunks(rows_per_batch.max(1)).map(<[usize]>::to_vec).collect()
    }

    /// These rows and their labels.
    pub fn batch(&self, rows: &[usize]) -> Batch {
        let ids = rows.iter().map(|row| &self.ids[*row]);
        Batch {
            ids: ids.clone().flatten().copied().collect(),
            lengths: ids.map(Vec::len).collect(),
            targets: rows.iter().map(|row| self.labels[*row]).collect(),
        }
    }
}
