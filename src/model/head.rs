//! What can stand on top of the body.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ops::Pool;

/// Module of a classification head, a weight (num_labels, width C) alone, as in transformers' Llama and GPT-2.
pub(super) const SCORE: &str = "score";

/// Module of the head behind a pooler, weight (num_labels, C) and bias, as in transformers' BERT and EuroBERT.
pub(super) const CLASSIFIER: &str = "classifier";

/// Module of EuroBERT's pooler, which belongs to its classifier alone.
pub(super) const DENSE: &str = "dense";

/// Whether the parameter called `name` makes class logits.
pub fn gives_logits(name: &str) -> bool {
    name.split_once('.').is_some_and(|(module, _)| [SCORE, CLASSIFIER].contains(&module))
}

/// Whether the parameter called `name` is of a head that no pre-trained model brings.
pub fn is_classification_head(name: &str) -> bool {
    gives_logits(name) || name.split_once('.').is_some_and(|(module, _)| module == DENSE)
}

/// Whether the parameter called `name` is trained as a part of the head: that head, and the pooler that a model brings.
pub fn is_head(name: &str) -> bool {
    is_classification_head(name) || name.contains(".pooler.")
}

/// What is on top of the transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// Next-token logits (V); no parameters of its own when tied to the embedding.
    LanguageModel,
    /// Class logits, as transformers' sequence classifiers give them.
    Classifier {
        /// Number of classes.
        num_labels: usize,
        /// What the head sees of the hidden states; decides its width.
        pooling: Pooling,
    },
}

/// What of its text a token sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Attention {
    /// Itself and what stands before it.
    Causal,
    /// All of it.
    Bidirectional,
}

/// Which hidden state speaks for the whole text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The last token that is not padding, as transformers' sequence classifiers do.
    #[default]
    Last,
    /// The first token, through the pooler that an encoder brings, as transformers' BERT does. A causal model's first
    /// token sees nothing of the text.
    First,
    /// The mean over all tokens that are not padding; of a Llama that reads in both directions through a pooler, as
    /// transformers' EuroBERT does.
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
            Self::First => Pool::First,
            Self::Mean => Pool::Mean,
            Self::Concat => Pool::Concat,
        }
    }
}
