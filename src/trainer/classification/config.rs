//! `[classifier]`: the head, what is trained, and what the best evaluation is judged by.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::metrics::Scores;
use crate::model::{Attention, ModelConfig, Pooling};
use crate::ranges;

/// Which parameters of the body stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Freeze {
    /// Everything is trained.
    #[default]
    None,
    /// Only the head is trained.
    AllButHead,
    /// The head, the final norm and the last `trainable_blocks` blocks are trained.
    AllButLastBlocks,
}

/// What decides which evaluation is the best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SelectionMetric {
    /// Validation loss, lower is better.
    ValLoss,
    /// F1 at the best validation threshold; macro F1 with more than two labels.
    #[default]
    F1,
    /// Matthews correlation.
    Mcc,
    /// Area under the precision-recall curve.
    PrAuc,
    /// Area under the ROC curve.
    RocAuc,
    /// Accuracy.
    Accuracy,
    /// Mean recall over the classes.
    BalancedAccuracy,
}

impl SelectionMetric {
    /// Whether rows with these counts by label can tell one evaluation from another by this metric: the areas need
    /// rows of every label, the others of two; the loss needs none.
    pub fn can_choose(self, rows: impl Iterator<Item = u64>) -> bool {
        let rows: Vec<u64> = rows.collect();
        match self {
            Self::ValLoss => true,
            Self::PrAuc | Self::RocAuc => rows.iter().all(|rows| *rows > 0),
            _ => rows.iter().filter(|rows| **rows > 0).count() >= 2,
        }
    }

    /// What is compared, higher is better; the negated loss where a score is not defined or the same whatever the
    /// model answers.
    pub fn of(self, scores: &Scores) -> f64 {
        let score = match self {
            Self::ValLoss => None,
            Self::F1 => Some(scores.f1),
            Self::Mcc => Some(scores.mcc),
            Self::PrAuc => scores.pr_auc,
            Self::RocAuc => scores.roc_auc,
            Self::Accuracy => Some(scores.accuracy),
            Self::BalancedAccuracy => Some(scores.balanced_accuracy),
        };
        let can_choose = self.can_choose(scores.per_class.iter().map(|class| class.support));
        score.filter(|_| can_choose).unwrap_or(-scores.loss)
    }
}

/// `[classifier]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClassifierConfig {
    /// What of its text a token sees: `causal`, itself and what stands before it, or `bidirectional`, all of it. Left
    /// out, the model's own way: causal of Llama and GPT-2, bidirectional of encoders, which know no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Attention")]
    pub attention: Option<Attention>,
    /// Which hidden state the head reads: `last`, `first` (through BERT's pooler), `mean`, or `concat`: last, maximum
    /// and mean side by side. Left out, `mean` of a text read in both directions, `concat` of others.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Pooling")]
    pub pooling: Option<Pooling>,
    /// Windows of `train.seq_len` tokens that a longer text is read in at most; the answer is the mean over them, and each
    /// is trained on by itself. 1 cuts the text; 0 takes as many as 99 of 100 training texts need, at most 8.
    #[schemars(range(max = 65536))]
    pub windows: usize,
    /// Learning rate of the head; 0 takes that of the body.
    #[schemars(range(min = 0, max = 100))]
    pub head_learning_rate: f64,
    /// Share of the run, from its beginning, in which the head is trained alone (linear probing, then fine-tuning:
    /// LP-FT); the rest begins with a new warm-up and trains all. Keeps what the body holds from a head that knows
    /// nothing yet; from scratch there is nothing to keep. Source: Kumar et al. 2022, "Fine-tuning can distort
    /// pretrained features and underperform out-of-distribution".
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub head_only_fraction: f64,
    /// `none`, `all_but_head` or `all_but_last_blocks`.
    pub freeze: Freeze,
    /// Blocks trained with `all_but_last_blocks`.
    pub trainable_blocks: usize,
    /// Weight each class by n / (labels * n_c), as scikit-learn's `balanced`.
    pub balanced: bool,
    /// Weight of each class in label order; empty weighs all alike. Excludes `balanced`.
    #[schemars(extend("items" = {"type": "number", "exclusiveMinimum": 0}))]
    pub class_weights: Vec<f64>,
    /// What the best evaluation is judged by, and the settings of a comparison's search.
    pub selection_metric: SelectionMetric,
    /// Let a support vector machine on character n-grams answer beside the transformer: both as one, weighed by their
    /// log loss on validation. Their errors are of different kinds.
    pub with_ngrams: bool,
    /// Weight of the language-model loss of the training texts (nats per token) beside the loss of their labels
    /// (nats per row); 0 leaves it out. Source: Radford et al. 2018, "Improving language understanding by
    /// generative pre-training", section 3.2, where it is 0.5.
    #[schemars(range(min = 0, max = 100))]
    pub language_model_weight: f64,
}

impl Default for ClassifierConfig {
    fn default() -> Self {
        Self {
            attention: None,
            pooling: None,
            windows: 0,
            head_learning_rate: 0.0,
            head_only_fraction: 0.0,
            freeze: Freeze::None,
            trainable_blocks: 1,
            balanced: false,
            class_weights: Vec::new(),
            selection_metric: SelectionMetric::F1,
            with_ngrams: false,
            language_model_weight: 0.0,
        }
    }
}

impl ClassifierConfig {
    /// Errors: settings that exclude each other or lie outside their range.
    pub fn check(&self) -> Result<()> {
        ranges::check("classifier", self)?;
        if self.balanced && !self.class_weights.is_empty() {
            return Err(Error::usage("classifier.balanced and classifier.class_weights exclude each other"));
        }
        if self.head_only_fraction > 0.0 && self.freeze == Freeze::AllButHead {
            return Err(Error::usage(
                "classifier.freeze = \"all_but_head\" trains the head alone to the end; set \
                 classifier.head_only_fraction to 0 or another freeze",
            ));
        }
        if self.language_model_weight > 0.0 && self.freeze == Freeze::AllButHead {
            return Err(Error::usage(
                "classifier.language_model_weight trains the body, which classifier.freeze = \"all_but_head\" keeps \
                 as it is; set the weight to 0 or another freeze",
            ));
        }
        if self.language_model_weight > 0.0 && self.attention == Some(Attention::Bidirectional) {
            return Err(Error::usage(
                "classifier.language_model_weight trains the model to predict the next token, which \
                 classifier.attention = \"bidirectional\" lets it see; leave one of them out",
            ));
        }
        Ok(())
    }

    /// The model that a classifier on top of such a model is trained as.
    pub fn body(&self, model: ModelConfig) -> ModelConfig {
        match self.attention {
            Some(Attention::Bidirectional) => model.bidirectional(),
            _ => model,
        }
    }

    /// What the head of such a model reads.
    pub fn pooling_of(&self, model: &ModelConfig) -> Pooling {
        self.pooling.unwrap_or(if model.is_encoder() { Pooling::Mean } else { Pooling::Concat })
    }

    /// Errors: settings that such a model cannot follow.
    pub fn check_for(&self, model: &ModelConfig) -> Result<()> {
        if self.attention == Some(Attention::Causal) && model.is_encoder() {
            return Err(Error::usage(
                "classifier.attention = \"causal\" is asked of an encoder, whose tokens see the whole text; leave it \
                 out",
            ));
        }
        let model = &self.body(model.clone());
        if self.pooling == Some(Pooling::First) && model.spec().pooler_of(Pooling::First).is_none() {
            let why = match model.is_encoder() {
                true => "wants a pooler as BERT's, which this model does not have",
                false => "reads the first token, which sees nothing of the text in this model",
            };
            let hint = "take \"last\", \"mean\" or \"concat\"";
            return Err(Error::usage(format!("classifier.pooling = \"first\" {why}; {hint}")));
        }
        if self.language_model_weight > 0.0 && model.is_encoder() {
            return Err(Error::usage(
                "classifier.language_model_weight trains a model to predict the next token, which an encoder sees; \
                 set the weight to 0",
            ));
        }
        Ok(())
    }

    /// Weight of each class, from the labels of the training rows.
    ///
    /// Errors: a list of another length than there are labels.
    pub fn weights(&self, labels: &[u32], num_labels: usize) -> Result<Vec<f32>> {
        if self.balanced {
            let count = |class: usize| labels.iter().filter(|label| **label as usize == class).count();
            let weight = |class| labels.len() as f64 / (num_labels * count(class).max(1)) as f64;
            return Ok((0..num_labels).map(|class| weight(class) as f32).collect());
        }
        match self.class_weights.len() {
            0 => Ok(vec![1.0; num_labels]),
            n if n == num_labels => Ok(self.class_weights.iter().map(|weight| *weight as f32).collect()),
            n => {
                let why =
                    format!("classifier.class_weights has {n} weights, the data has {num_labels} labels");
                Err(Error::usage(why))
            }
        }
    }
}
