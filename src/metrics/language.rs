//! How well a language model predicts text.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Scores of one fixed set of text, from sums over all of it.
///
/// Loss and perplexity are per token, so they change with the tokenizer: a larger vocabulary makes fewer,
/// harder tokens. Bits per byte divides the same nats by the bytes of the text, which no tokenizer changes,
/// and so is the figure to compare runs by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LanguageScores {
    /// Mean cross-entropy, nats per token.
    pub val_loss: f64,
    /// exp(val_loss): the number of equally likely tokens that would be as hard.
    pub val_perplexity: f64,
    /// Cross-entropy, bits per byte of text.
    pub val_bits_per_byte: f64,
}

impl LanguageScores {
    /// Divides once, at the end: `nats` summed over the `tokens` predicted; `text_nats` of those are for tokens
    /// that stand for text, `bytes` of it, ends of documents left out.
    ///
    /// Errors: no tokens or no bytes.
    pub fn from_totals(nats: f64, tokens: u64, text_nats: f64, bytes: u64) -> Result<Self> {
        if tokens == 0 || bytes == 0 {
            return Err(Error::data(format!(
                "nothing to score: {tokens} tokens, {bytes} bytes; give a longer validation text"
            )));
        }
        let val_loss = nats / tokens as f64;
        let val_bits_per_byte = text_nats / std::f64::consts::LN_2 / bytes as f64;
        Ok(Self { val_loss, val_perplexity: val_loss.exp(), val_bits_per_byte })
    }
}

#[cfg(test)]
mod tests {
    use super::LanguageScores;

    #[test]
    fn a_uniform_guess_over_bytes_costs_eight_bits_per_byte() {
        let scores = LanguageScores::from_totals(10.0 * 256f64.ln(), 10, 10.0 * 256f64.ln(), 10).unwrap();
        assert!((scores.val_perplexity - 256.0).abs() < 1e-9);
        assert!((scores.val_bits_per_byte - 8.0).abs() < 1e-12);
        let merged = LanguageScores::from_totals(10.0 * 256f64.ln(), 5, 10.0 * 256f64.ln(), 10).unwrap();
        assert!((merged.val_bits_per_byte - 8.0).abs() < 1e-12);
        assert_eq!(merged.val_loss, 2.0 * scores.val_loss);
    }

    #[test]
    fn nothing_to_score_is_an_error() {
        assert!(LanguageScores::from_totals(0.0, 0, 0.0, 3).is_err());
        assert!(LanguageScores::from_totals(1.0, 3, 1.0, 0).is_err());
    }
}
