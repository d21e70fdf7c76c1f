//! Text from a language model: token by token with a key-value cache.
//!
//! Layer 3.

use candle_core::{DType, Tensor};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::{KvCache, LanguageModel};
use crate::ranges;
use crate::rng;
use crate::signals;
use crate::tokenizer::Tokenizer;

/// How the next token is chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// Logits are divided by it; 0 always takes the likeliest token.
    #[schemars(range(min = 0))]
    pub temperature: f64,
    /// Only this many likeliest tokens; 0 takes all.
    pub top_k: usize,
    /// Only the likeliest tokens that together reach this probability (Holtzman et al. 2020); 1 takes all.
    #[schemars(range(max = 1), extend("exclusiveMinimum" = 0))]
    pub top_p: f64,
    /// Most tokens to add.
    pub max_new_tokens: usize,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.8, top_k: 50, top_p: 0.95, max_new_tokens: 60 }
    }
}

impl Sampling {
    /// Always the likeliest token.
    pub fn greedy(max_new_tokens: usize) -> Self {
        Self { temperature: 0.0, top_k: 0, top_p: 1.0, max_new_tokens }
    }

    /// Errors: a value outside its range.
    pub fn check(&self) -> Result<()> {
        ranges::check("", self)
    }
}

/// A language model with the tokenizer of its ids.
#[derive(Clone, Copy)]
pub struct Generator<'a> {
    /// Gives the logits of the next token.
    pub model: &'a LanguageModel,
    /// Says which token ends a text.
    pub tokenizer: &'a Tokenizer,
}

impl Generator<'_> {
    /// Continues `prompt`, hands each new piece of text to `show` as it comes, and returns all of them.
    ///
    /// Stops at the end of text or the model's last position; of a longer prompt than the model has positions its end
    /// is kept. Same seed, same text on the CPU. Errors: as `show`.
    pub fn text(
        &self,
        prompt: &str,
        sampling: &Sampling,
        seed: u64,
        mut show: impl FnMut(&str) -> Result<()>,
    ) -> Result<String> {
        let ids = self.tokenizer.encode(prompt)?;
        let mut stream = TextStream::new(self.tokenizer, &ids)?;
        let mut text = String::new();
        self.each(&ids, sampling, seed, |id| {
            let new = stream.push(id)?;
            text.push_str(&new);
            show(&new)
        })?;
        Ok(text)
    }

    /// The ids that follow `prompt`, as [`text`](Self::text) chooses them.
    pub fn ids(&self, prompt: &[u32], sampling: &Sampling, seed: u64) -> Result<Vec<u32>> {
        let mut new = Vec::new();
        self.each(prompt, sampling, seed, |id| {
            new.push(id);
            Ok(())
        })?;
        Ok(new)
    }

    /// What the model's last position takes from the text or its prompt, in words; none where all fits.
    pub fn limit(&self, prompt: &str, sampling: &Sampling) -> Result<Option<String>> {
        let positions = self.model.max_position_embeddings();
        let tokens = self.tokenizer.encode(prompt)?.len().max(1);
        // The last new token needs no position of its own.
        let room = (positions + 1).saturating_sub(tokens).max(1);
        let cut = if tokens > positions { "its beginning is left out and " } else { "" };
        Ok((room < sampling.max_new_tokens).then(|| {
            let why = format!("the prompt has {tokens} tokens, the model {positions} positions");
            format!("{why}: {cut}at most {room} new tokens follow instead of {}", sampling.max_new_tokens)
        }))
    }

    fn each(
        &self,
        prompt: &[u32],
        sampling: &Sampling,
        seed: u64,
        mut take: impl FnMut(u32) -> Result<()>,
    ) -> Result<()> {
        let (end, positions) = (self.tokenizer.end_of_text(), self.model.max_position_embeddings());
        let mut stream = rng::stream(seed, "generate", &[]);
        let mut cache = KvCache::new();
        // The end of the text before it opens a document, as in training.
        let mut new: Vec<u32> = if prompt.is_empty() { vec![end] } else { prompt.to_vec() };
        new.drain(..new.len().saturating_sub(positions));
        for _ in 0..sampling.max_new_tokens {
            signals::check()?;
            if cache.len() + new.len() > positions {
                return Ok(());
            }
            let input = Tensor::from_vec(new.clone(), (1, new.len()), self.model.device())?;
            let logits = self.model.next_logits(&input, &mut cache)?.squeeze(0)?.to_dtype(DType::F32)?;
            let logits = logits.to_vec1::<f32>()?;
            if logits.iter().any(|logit| !logit.is_finite()) {
                return Err(Error::not_finite());
            }
            let next = choose(&logits, sampling, &mut stream);
            if next == end {
                return Ok(());
            }
            take(next)?;
            new = vec![next];
        }
        Ok(())
    }
}

/// The next id: the likeliest, or drawn from the tokens that top-k and top-p leave.
fn choose(logits: &[f32], sampling: &Sampling, stream: &mut ChaCha8Rng) -> u32 {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    // Equal logits keep the order of their ids, so that the choice is the same on every machine.
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
    if sampling.temperature == 0.0 {
        return order.first().map_or(0, |id| *id as u32);
    }
    if sampling.top_k > 0 {
        order.truncate(sampling.top_k);
    }
    let highest = f64::from(logits[order[0]]);
    let weight = |id: &usize| ((f64::from(logits[*id]) - highest) / sampling.temperature).exp();
    let weights: Vec<f64> = order.iter().map(weight).collect();
    let total: f64 = weights.iter().sum();
    let mut kept = 0.0;
    let within = weights.iter().take_while(|weight| {
        let open = kept < sampling.top_p * total;
        kept += *weight;
        open
    });
    let count = within.count().max(1);
    let mut left = stream.random::<f64>() * weights[..count].iter().sum::<f64>();
    for (id, weight) in order.iter().zip(&weights[..count]) {
        left -= weight;
        if left <= 0.0 {
            return *id as u32;
        }
    }
    order[count - 1] as u32
}

/// Text grown id by id that is handed out only up to the last complete character.
///
/// One character may span several byte-level tokens, so ids cannot be decoded one by one.
struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    ids: Vec<u32>,
    shown: usize,
}

impl<'a> TextStream<'a> {
    /// A stream that continues `prompt`; the prompt itself is not handed out.
    fn new(tokenizer: &'a Tokenizer, prompt: &[u32]) -> Result<Self> {
        let shown = tokenizer.decode(prompt)?.len();
        Ok(Self { tokenizer, ids: prompt.to_vec(), shown })
    }

    /// Adds an id; returns the text that is new and complete.
    fn push(&mut self, id: u32) -> Result<String> {
        self.ids.push(id);
        let text = self.tokenizer.decode(&self.ids)?;
        if text.ends_with('\u{fffd}') || !text.is_char_boundary(self.shown) || text.len() < self.shown {
            return Ok(String::new());
        }
        let new = text[self.shown..].to_string();
        self.shown = text.len();
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(sampling: &Sampling) -> Vec<u32> {
        let mut stream = rng::stream(1, "test", &[]);
        let logits = [0.0, 3.0, 1.0, 2.9];
        (0..200).map(|_| choose(&logits, sampling, &mut stream)).collect()
    }

    #[test]
    fn temperature_zero_takes_the_likeliest() {
        assert!(drawn(&Sampling::greedy(1)).iter().all(|id| *id == 1));
    }

    #[test]
    fn top_k_and_top_p_leave_out_the_unlikely() {
        let base = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, max_new_tokens: 1 };
        let distinct = |sampling: Sampling| {
            let mut ids = drawn(&sampling);
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        assert_eq!(distinct(base.clone()), [0, 1, 2, 3]);
        assert_eq!(distinct(Sampling { top_k: 2, ..base.clone() }), [1, 3]);
        assert_eq!(distinct(Sampling { top_p: 0.6, ..base.clone() }), [1, 3]);
        assert_eq!(distinct(Sampling { top_p: 0.01, ..base }), [1]);
    }
}
