//! Corpus BLEU with the tokenisation and smoothing of sacreBLEU's defaults, one reference per hypothesis.
//!
//! Checked against sacreBLEU in `tests.rs`. BLEU of free continuations is low by nature (many continuations
//! are good, one is the reference): read it as a trend between runs, not as quality.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Longest n-gram. Source: Papineni et al. 2002, "BLEU: a Method for Automatic Evaluation of Machine Translation".
const MAX_ORDER: usize = 4;

/// How the score was made, in sacreBLEU's words; the version is the one the stored vectors are from.
/// Source: Post 2018, "A Call for Clarity in Reporting BLEU Scores".
pub const SIGNATURE: &str = "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0";

/// A corpus score and its parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bleu {
    /// 0 to 100.
    pub score: f64,
    /// exp(1 - reference_len / hypothesis_len) for hypotheses shorter than their references, else 1.
    pub brevity_penalty: f64,
    /// Share of 1- to 4-grams that occur in the reference, in percent, after smoothing.
    pub precisions: [f64; MAX_ORDER],
    /// Tokens in all hypotheses.
    pub hypothesis_len: u64,
    /// Tokens in all references.
    pub reference_len: u64,
    /// How the score was made.
    pub signature: String,
}

impl Bleu {
    /// Pools the n-gram counts of all pairs, then scores once.
    ///
    /// score = brevity_penalty * exp(mean of ln precision over orders 1 to 4); an order without a match gets
    /// precision 1 / (2^k total) at the k-th such order; 0 when not even a single token matches.
    /// Errors: slices of different length.
    /// Source: Papineni et al. 2002; smoothing Chen and Cherry 2014, method 3.
    pub fn corpus(hypotheses: &[String], references: &[String]) -> Result<Self> {
        if hypotheses.len() != references.len() {
            return Err(Error::data(format!(
                "{} hypotheses but {} references; BLEU needs one reference each",
                hypotheses.len(),
                references.len()
            )));
        }
        let (mut matched, mut total) = ([0; MAX_ORDER], [0; MAX_ORDER]);
        let (mut hypothesis_len, mut reference_len) = (0, 0);
        for (hypothesis, reference) in hypotheses.iter().zip(references) {
            let (hypothesis, reference) = (tokenize_13a(hypothesis), tokenize_13a(reference));
            hypothesis_len += hypothesis.len() as u64;
            reference_len += reference.len() as u64;
            for order in 1..=MAX_ORDER {
                total[order - 1] += (hypothesis.len() + 1).saturating_sub(order) as u64;
                matched[order - 1] += matches(&hypothesis, &reference, order);
            }
        }
        let brevity_penalty = if hypothesis_len >= reference_len {
            1.0
        } else {
            (1.0 - reference_len as f64 / hypothesis_len as f64).exp() // 0 for no hypothesis tokens
        };
        let precisions = smoothed_precisions(&matched, &total);
        let mean_log = precisions.iter().map(|p| p.ln()).sum::<f64>() / MAX_ORDER as f64;
        Ok(Self {
            score: brevity_penalty * mean_log.exp(),
            brevity_penalty,
            precisions,
            hypothesis_len,
            reference_len,
            signature: SIGNATURE.to_owned(),
        })
    }
}

/// N-grams of the hypothesis found in the reference, each at most as often as it occurs there.
fn matches(hypothesis: &[String], reference: &[String], order: usize) -> u64 {
    let mut left: HashMap<&[String], u64> = HashMap::new();
    for ngram in reference.windows(order) {
        *left.entry(ngram).or_default() += 1;
    }
    let mut found = 0;
    for ngram in hypothesis.windows(order) {
        if let Some(count) = left.get_mut(ngram).filter(|count| **count > 0) {
            *count -= 1;
            found += 1;
        }
    }
    found
}

fn smoothed_precisions(matched: &[u64; MAX_ORDER], total: &[u64; MAX_ORDER]) -> [f64; MAX_ORDER] {
    let mut precisions = [0.0; MAX_ORDER];
    if matched[0] == 0 {
        return precisions;
    }
    let mut halving = 1.0;
    for order in 0..MAX_ORDER {
        if total[order] == 0 {
            break;
        }
        let mut found = matched[order] as f64;
        if matched[order] == 0 {
            halving *= 2.0;
            found = 1.0 / halving;
        }
        precisions[order] = 100.0 * found / total[order] as f64;
    }
    precisions
}

/// Splits a line into the tokens of mteval-v13a: symbols stand alone, periods and commas unless between
/// digits, a dash after a digit.
///
/// Source: NIST mteval-v13a.pl, as sacreBLEU's tokenizer `13a` has it.
pub fn tokenize_13a(line: &str) -> Vec<String> {
    // Python's white space, which sacreBLEU strips and splits by, also holds the four ASCII separators.
    let is_space = |c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c);
    let mut text = line.trim_end_matches(is_space).replace("<skipped>", "");
    for (from, to) in
        [("-\n", ""), ("\n", " "), ("&quot;", "\""), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")]
    {
        text = text.replace(from, to);
    }
    let mut spaced = String::from(" ");
    for c in text.chars() {
        if c.is_ascii_punctuation() && !"'-.,".contains(c) {
            spaced.extend([' ', c, ' ']);
        } else {
            spaced.push(c);
        }
    }
    spaced.push(' ');
    let is_stop = |c: char| c == '.' || c == ',';
    let not_digit = |c: char| !c.is_ascii_digit();
    spaced = rewrite_pairs(&spaced, |a, b| not_digit(a) && is_stop(b), |a, b| [a, ' ', b, ' ']);
    spaced = rewrite_pairs(&spaced, |a, b| is_stop(a) && not_digit(b), |a, b| [' ', a, ' ', b]);
    spaced = rewrite_pairs(&spaced, |a, b| a.is_ascii_digit() && b == '-', |a, b| [a, ' ', b, ' ']);
    spaced.split(is_space).filter(|token| !token.is_empty()).map(str::to_owned).collect()
}

/// Replaces neighbouring characters from left to right; a character belongs to one pair only.
fn rewrite_pairs(
    text: &str,
    applies: impl Fn(char, char) -> bool,
    replacement: impl Fn(char, char) -> [char; 4],
) -> String {
    let mut rewritten = String::with_capacity(text.len() * 2);
    let mut chars = text.chars().peekable();
    while let Some(first) = chars.next() {
        match chars.next_if(|&second| applies(first, second)) {
            Some(second) => rewritten.extend(replacement(first, second)),
            None => rewritten.push(first),
        }
    }
    rewritten
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus(hypothesis: &str, reference: &str) -> Bleu {
        Bleu::corpus(&[hypothesis.to_owned()], &[reference.to_owned()]).unwrap()
    }

    #[test]
    fn by_hand_four_of_five_tokens() {
        let bleu = corpus("a b c d e", "a b c d f");
        let expected = (0.8f64 * 0.75 * (2.0 / 3.0) * 0.5).powf(0.25) * 100.0;
        assert!((bleu.score - expected).abs() < 1e-9);
        assert_eq!((bleu.brevity_penalty, bleu.hypothesis_len, bleu.reference_len), (1.0, 5, 5));
    }

    #[test]
    fn a_repeated_word_matches_only_as_often_as_the_reference_has_it() {
        assert_eq!(corpus("the the the the", "the cat sat down").precisions[0], 25.0);
    }

    #[test]
    fn empty_and_unmatched_hypotheses_score_zero() {
        for hypothesis in ["", "x y z w"] {
            assert_eq!(corpus(hypothesis, "a b c d").score, 0.0);
        }
        assert!(Bleu::corpus(&[], &["a".to_owned()]).is_err());
    }
}
