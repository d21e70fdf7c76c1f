//! What can stand on top of the body.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ops::Pool;

/// Name of a classification head, (num_labels, width C).
pub const SCORE_WEIGHT: &str = "score.weight";

/// What is on top of the transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// Next-token logits (V); no parameters of its own when tied to the embedding.
    LanguageModel,
    /// [`SCORE_WEIGHT`], no bias, as in transformers' sequence classifiers.
    Classifier {
        /// Number of classes.
        num_labels: usize,
        /// What the head sees of the hidden states; decides its width.
        pooling: Pooling,
    },
}

/// Which hidden state speaks for the whole text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The last token that is not padding, as transformers' sequence classifiers do.
    #[default]
    Last,
    /// The mean over all tokens that are not padding.
    Mean,
    /// Last, maximum and mean side by side, three inputs of the head for each hidden value.
    Concat,
}

impl Pooling {
    /// Inputs of the head for each hidden value.
    pub fn width(self) -> usize {
        self.pool().width()
    }

    pub(super) fn pool(self) -> Pool {
        match self {
            Self::Last => Pool::Last,
            Self::Mean => Pool::Mean,
            Self::Concat => Pool::Concat,
        }
    }
}
