//! The arms and baselines of a comparison, and where each of their runs is kept.

use std::fmt;
use std::path::{Path, PathBuf};

/// Every row of the table: an arm or a baseline, in the order of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arm {
    /// Fine-tuned from the pre-trained weights.
    Pretrained,
    /// Fine-tuned from another model.
    Start(StartName),
    /// The same as the pre-trained one from random weights.
    Scratch,
    /// From random weights, with the tokens of pre-training as further fine-tuning.
    ScratchMatched,
    /// The pre-trained classifier and character n-grams with a support vector machine, as one answer.
    PretrainedNgrams,
    /// The same from another model.
    StartNgrams(StartName),
    /// The same from random weights.
    ScratchNgrams,
    /// Character n-grams with a linear support vector machine.
    CharSvm,
    /// Character n-grams with logistic regression.
    CharNgram,
    /// Word n-grams with logistic regression.
    WordNgram,
    /// Always the most frequent label of the training rows.
    Majority,
}

/// What a comparison calls a further model that it starts from: small letters, digits and hyphens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StartName([u8; StartName::LONGEST]);

impl StartName {
    /// Characters it may have.
    pub const LONGEST: usize = 24;

    /// None for a name that is empty, too long, has other characters, does not begin with a letter or is that of another
    /// arm.
    pub fn new(name: &str) -> Option<Self> {
        let harmless = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_name = name.len() <= Self::LONGEST
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(harmless)
            && !Arm::OWN.iter().any(|arm| arm.key() == name);
        let mut padded = [0; Self::LONGEST];
        is_name.then(|| padded[..name.len()].copy_from_slice(name.as_bytes()));
        is_name.then_some(Self(padded))
    }
}

impl fmt::Display for StartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take_while(|byte| **byte != 0).try_for_each(|byte| write!(f, "{}", char::from(*byte)))
    }
}

impl fmt::Debug for StartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Arm {
    /// Those that every comparison may have.
    const OWN: [Arm; 9] = [
        Arm::Pretrained,
        Arm::Scratch,
        Arm::ScratchMatched,
        Arm::PretrainedNgrams,
        Arm::ScratchNgrams,
        Arm::CharSvm,
        Arm::CharNgram,
        Arm::WordNgram,
        Arm::Majority,
    ];

    /// Those that are no transformer.
    pub const BASELINES: [Arm; 4] = [Arm::CharSvm, Arm::CharNgram, Arm::WordNgram, Arm::Majority];

    /// Key in results.json.
    pub fn key(self) -> String {
        match self {
            Arm::Pretrained => "pretrained".into(),
            Arm::Start(name) => name.to_string(),
            Arm::Scratch => "scratch".into(),
            Arm::ScratchMatched => "scratch_matched".into(),
            Arm::PretrainedNgrams => "pretrained_ngrams".into(),
            Arm::StartNgrams(name) => format!("{name}_ngrams"),
            Arm::ScratchNgrams => "scratch_ngrams".into(),
            Arm::CharSvm => "char_svm".into(),
            Arm::CharNgram => "char_ngram".into(),
            Arm::WordNgram => "word_ngram".into(),
            Arm::Majority => "majority".into(),
        }
    }

    /// The arm with this key.
    pub fn of_key(key: &str) -> Option<Self> {
        let start = |name: &str| StartName::new(name);
        let own = Self::OWN.into_iter().find(|arm| arm.key() == key);
        own.or_else(|| key.strip_suffix("_ngrams").and_then(start).map(Arm::StartNgrams))
            .or_else(|| start(key).map(Arm::Start))
    }

    /// Name in tables and sentences.
    pub fn name(self) -> String {
        match self {
            Arm::Pretrained => "pre-trained".into(),
            Arm::Start(name) => format!("from {name}"),
            Arm::Scratch => "from scratch".into(),
            Arm::ScratchMatched => "from scratch, longer".into(),
            Arm::PretrainedNgrams => "pre-trained with n-grams".into(),
            Arm::StartNgrams(name) => format!("from {name} with n-grams"),
            Arm::ScratchNgrams => "from scratch with n-grams".into(),
            Arm::CharSvm => "character n-grams, SVM".into(),
            Arm::CharNgram => "character n-grams, logistic".into(),
            Arm::WordNgram => "word n-grams, logistic".into(),
            Arm::Majority => "majority class".into(),
        }
    }

    /// Whether it is no transformer.
    pub fn is_baseline(self) -> bool {
        Self::BASELINES.contains(&self)
    }

    /// The arm whose answers are combined with those of the n-grams in this one.
    pub fn combines(self) -> Option<Self> {
        match self {
            Arm::PretrainedNgrams => Some(Arm::Pretrained),
            Arm::StartNgrams(name) => Some(Arm::Start(name)),
            Arm::ScratchNgrams => Some(Arm::Scratch),
            _ => None,
        }
    }

    /// This one and the n-grams as one answer; the longer arm and the baselines have none.
    pub fn with_ngrams(self) -> Option<Self> {
        match self {
            Arm::Pretrained => Some(Arm::PretrainedNgrams),
            Arm::Start(name) => Some(Arm::StartNgrams(name)),
            Arm::Scratch => Some(Arm::ScratchNgrams),
            _ => None,
        }
    }

    /// Whether it starts from a model that knows something.
    pub fn is_start(self) -> bool {
        matches!(self, Arm::Pretrained | Arm::Start(_))
    }

    /// Whether its runs are fine-tunings.
    pub fn is_trained(self) -> bool {
        !self.is_baseline() && self.combines().is_none()
    }
}

/// Where a comparison keeps one run, below its own directory; `fold` is 0 without folds.
pub fn cell_folder(arm: Arm, budget: &str, seed: u64, fold: usize) -> PathBuf {
    let of_fold = if fold > 0 { format!("-fold{fold}") } else { String::new() };
    let name = format!("{}-{budget}-seed{seed}{of_fold}", arm.key());
    if arm.is_trained() { name.into() } else { Path::new("baselines").join(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arm_is_found_by_its_key() {
        let name = StartName::new("all-minilm-l6").unwrap();
        for arm in Arm::OWN.into_iter().chain([Arm::Start(name), Arm::StartNgrams(name)]) {
            assert_eq!(Arm::of_key(&arm.key()), Some(arm));
            assert_eq!(arm.with_ngrams().and_then(Arm::combines), arm.with_ngrams().map(|_| arm));
        }
        assert_eq!(Arm::Start(name).name(), "from all-minilm-l6");
        for wrong in ["", "Mini", "a_b", "3b", "scratch", "pretrained", &"a".repeat(25), "a/b", "é"] {
            assert_eq!(StartName::new(wrong), None, "{wrong}");
        }
    }
}
