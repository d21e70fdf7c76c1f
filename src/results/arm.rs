//! The arms and baselines of a comparison, and where each of their runs is kept.

use std::path::{Path, PathBuf};

/// Every row of the table: an arm or a baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arm {
    /// Fine-tuned from the pre-trained weights.
    Pretrained,
    /// The same from random weights.
    Scratch,
    /// From random weights, with the tokens of pre-training as further fine-tuning.
    ScratchMatched,
    /// The pre-trained classifier and character n-grams with a support vector machine, as one answer.
    PretrainedNgrams,
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

impl Arm {
    /// All, in the order of the tables.
    pub const ALL: [Arm; 9] = [
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
    pub fn key(self) -> &'static str {
        match self {
            Arm::Pretrained => "pretrained",
            Arm::Scratch => "scratch",
            Arm::ScratchMatched => "scratch_matched",
            Arm::PretrainedNgrams => "pretrained_ngrams",
            Arm::ScratchNgrams => "scratch_ngrams",
            Arm::CharSvm => "char_svm",
            Arm::CharNgram => "char_ngram",
            Arm::WordNgram => "word_ngram",
            Arm::Majority => "majority",
        }
    }

    /// Name in tables and sentences.
    pub fn name(self) -> &'static str {
        match self {
            Arm::Pretrained => "pre-trained",
            Arm::Scratch => "from scratch",
            Arm::ScratchMatched => "from scratch, longer",
            Arm::PretrainedNgrams => "pre-trained with n-grams",
            Arm::ScratchNgrams => "from scratch with n-grams",
            Arm::CharSvm => "character n-grams, SVM",
            Arm::CharNgram => "character n-grams, logistic",
            Arm::WordNgram => "word n-grams, logistic",
            Arm::Majority => "majority class",
        }
    }

    /// Whether it is no transformer.
    pub fn is_baseline(self) -> bool {
        Self::BASELINES.contains(&self)
    }

    /// The arm whose answers it combines with those of the n-grams.
    pub fn combines(self) -> Option<Self> {
        match self {
            Arm::PretrainedNgrams => Some(Arm::Pretrained),
            Arm::ScratchNgrams => Some(Arm::Scratch),
            _ => None,
        }
    }

    /// Whether its runs are fine-tunings.
    pub fn is_trained(self) -> bool {
        !self.is_baseline() && self.combines().is_none()
    }
}

/// Where a comparison keeps one run, below its own directory.
pub fn cell_folder(arm: Arm, budget: &str, seed: u64) -> PathBuf {
    let name = format!("{}-{budget}-seed{seed}", arm.key());
    if arm.is_trained() { name.into() } else { Path::new("baselines").join(name) }
}
