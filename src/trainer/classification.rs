//! The fine-tuning task: predict the label of a text.

use candle_core::{DType, Device};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Evaluation, Loss, State, Task};
use crate::data::{Batch, Examples, RowSampler};
use crate::error::{Error, Result};
use crate::metrics::{Scores, Threshold};
use crate::model::{Classifier, Dropout, LoraConfig, ModelConfig, Pooling, SCORE_WEIGHT, TokenRows, Weights};
use crate::ops::{self, Traced};
use crate::progress::Progress;
use crate::ranges;
use crate::trainer::TrainConfig;

/// Which parameters of the trunk stay as they are.
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
    /// What is compared, higher is better; the negated loss where a score is not defined.
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
        score.unwrap_or(-scores.loss)
    }
}

/// `[classifier]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClassifierConfig {
    /// `last` or `mean` hidden state, or `concat`: last, maximum and mean side by side.
    pub pooling: Pooling,
    /// Learning rate of the head; 0 takes that of the trunk.
    #[schemars(range(min = 0, max = 100))]
    pub head_learning_rate: f64,
    /// Share of the budget, from its beginning, in which the head is trained alone (linear probing, then fine-tuning:
    /// LP-FT); the rest begins with a new warm-up and trains all. Keeps what the trunk holds from a head that knows
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
    /// Weight of the language-model loss of the training texts (nats per token) beside the loss of their labels
    /// (nats per row); 0 leaves it out. Source: Radford et al. 2018, "Improving language understanding by
    /// generative pre-training", section 3.2, where it is 0.5.
    #[schemars(range(min = 0, max = 100))]
    pub language_model_weight: f64,
}

impl Default for ClassifierConfig {
    fn default() -> Self {
        Self {
            pooling: Pooling::Last,
            head_learning_rate: 0.0,
            head_only_fraction: 0.0,
            freeze: Freeze::None,
            trainable_blocks: 1,
            balanced: false,
            class_weights: Vec::new(),
            selection_metric: SelectionMetric::F1,
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
                "classifier.language_model_weight trains the trunk, which classifier.freeze = \"all_but_head\" keeps \
                 as it is; set the weight to 0 or another freeze",
            ));
        }
        Ok(())
    }

    /// Whether the parameter called `name` is trained.
    pub fn trains(&self, name: &str, config: &ModelConfig) -> bool {
        let last_blocks = config.num_hidden_layers().saturating_sub(self.trainable_blocks);
        let block = name.split('.').find_map(|part| part.parse::<usize>().ok());
        match self.freeze {
            Freeze::None => true,
            _ if name == SCORE_WEIGHT => true,
            Freeze::AllButHead => false,
            Freeze::AllButLastBlocks => match block {
                Some(block) => block >= last_blocks,
                None => name.starts_with("model.norm") || name.starts_with("transformer.ln_f"),
            },
        }
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

/// What classification needs besides the model.
pub struct ClassificationTask<'a> {
    examples: &'a Examples,
    validation: &'a Examples,
    label_names: &'a [String],
    positive: usize,
    config: &'a ClassifierConfig,
    train: &'a TrainConfig,
    sampler: RowSampler,
    /// Batches of the epoch they were last asked for.
    epoch: Option<(u64, Vec<Vec<usize>>)>,
    class_weights: Vec<f32>,
    /// What the language-model loss of each token is multiplied by.
    language_factor: f64,
    model: Classifier,
    /// The same with a trunk that gets no gradients.
    head_model: Classifier,
    eval_model: Classifier,
    device: Device,
}

/// Rows, labels and their names, as the task reads them.
pub struct ClassificationData<'a> {
    /// Rows trained on.
    pub train: &'a Examples,
    /// Rows the best evaluation and the threshold are chosen on.
    pub validation: &'a Examples,
    /// Names in label order.
    pub label_names: &'a [String],
    /// Label that precision and recall are about.
    pub positive: usize,
}

impl<'a> ClassificationTask<'a> {
    /// The task over the parameters of `state`, which it follows as they change; with `lora` some of them are
    /// updates of others.
    ///
    /// Errors: class weights that do not fit the labels; a language-model loss for a model without tied embeddings.
    pub fn new(
        model: &ModelConfig,
        lora: Option<&LoraConfig>,
        state: &State,
        data: &ClassificationData<'a>,
        config: &'a ClassifierConfig,
        train: &'a TrainConfig,
        seed: u64,
    ) -> Result<Self> {
        if config.language_model_weight > 0.0 && !model.tie_word_embeddings() {
            return Err(Error::usage(
                "classifier.language_model_weight needs a model with tied embeddings, whose classifier can still \
                 predict tokens; this one has tie_word_embeddings = false; set the weight to 0",
            ));
        }
        let over = |weights: &Weights| Classifier::with_lora(model, weights, config.pooling, lora);
        let tracked = state.params.tracked(|name| state.trainable.contains(name));
        Ok(Self {
            examples: data.train,
            validation: data.validation,
            label_names: data.label_names,
            positive: data.positive,
            config,
            train,
            sampler: data.train.sampler(train.micro_batch_size, seed),
            epoch: None,
            class_weights: config.weights(data.train.labels(), data.label_names.len())?,
            language_factor: config.language_model_weight / data.train.mean_predicted_tokens().max(1.0),
            model: over(&tracked)?.with_recompute(train.recompute),
            head_model: over(&state.params.tracked(|name| name == SCORE_WEIGHT))?,
            eval_model: over(&state.params.detached())?,
            device: state.params.device(),
        })
    }

    fn steps_in_epoch(&self) -> u64 {
        self.sampler.batches_per_epoch().div_ceil(self.train.grad_accum_steps as u64)
    }
}

impl Task for ClassificationTask<'_> {
    fn batches(&mut self, step: u64) -> Result<Vec<Batch>> {
        let (epoch, place) = (step / self.steps_in_epoch(), step % self.steps_in_epoch());
        if self.epoch.as_ref().is_none_or(|(at, _)| *at != epoch) {
            self.epoch = Some((epoch, self.sampler.epoch(epoch)));
        }
        let batches = self.epoch.as_ref().map_or(&[][..], |(_, batches)| batches);
        let micro_steps = self.train.grad_accum_steps;
        let rows = batches.iter().skip(place as usize * micro_steps).take(micro_steps);
        Ok(rows.map(|rows| self.examples.batch(rows)).collect())
    }

    fn count(&self, batch: &Batch) -> f64 {
        batch.targets.iter().map(|label| f64::from(self.class_weights[*label as usize])).sum()
    }

    fn loss(&self, batch: &Batch, scale: f64, head_only: bool, dropout: &mut Dropout) -> Result<Loss> {
        let model = if head_only { &self.head_model } else { &self.model };
        let rows = token_rows(batch, &self.device)?;
        let hidden = model.hidden(&rows, dropout)?;
        let logits = model.score(&hidden, &rows, dropout)?;
        let targets = ops::upload(&batch.targets, batch.rows, &self.device)?;
        let losses = ops::cross_entropy(&logits, &targets)?;
        let weight = |label: &u32| (f64::from(self.class_weights[*label as usize]) * scale) as f32;
        let weights: Vec<f32> = batch.targets.iter().map(weight).collect();
        let weights = ops::upload_f32(&weights, &self.device)?.to_dtype(losses.dtype())?;
        let loss = ops::weighted_sum(&losses, &weights)?;
        if self.language_factor == 0.0 || head_only {
            return Ok(loss.into());
        }
        let next = next_tokens(batch);
        let next = ops::upload(&next, next.len(), &self.device)?;
        let of_texts = self.model.language_loss(&hidden, &next, self.language_factor * scale)?;
        Ok(Loss { of_targets: loss.value().clone(), total: ops::add(&loss, &of_texts, None)? })
    }

    fn evaluate(&self, progress: &Progress) -> Result<Evaluation> {
        let rows = self.train.micro_batch_size;
        let probabilities = probabilities(&self.eval_model, self.validation, rows, &self.device, progress)?;
        let scores = Scores::compute(
            self.validation.labels(),
            &probabilities,
            self.label_names,
            self.positive,
            Threshold::BestF1,
            None,
        )?;
        let mut fields = Map::new();
        let mut field = |name: &str, value: Value| fields.insert(format!("val_{name}"), value);
        field("accuracy", json!(scores.accuracy));
        field("precision", json!(scores.precision));
        field("recall", json!(scores.recall));
        field("f1", json!(scores.f1));
        field("pr_auc", json!(scores.pr_auc));
        Ok(Evaluation { loss: scores.loss, score: self.config.selection_metric.of(&scores), fields })
    }

    fn steps_per_epoch(&self) -> f64 {
        self.steps_in_epoch() as f64
    }
}

/// The id after each token of a batch without its padding; [`ops::IGNORE_INDEX`] after the last of a row.
fn next_tokens(batch: &Batch) -> Vec<u32> {
    let rows = batch.input_ids.chunks_exact(batch.seq_len).zip(&batch.lengths);
    rows.flat_map(|(row, length)| row[1..*length].iter().copied().chain([ops::IGNORE_INDEX])).collect()
}

/// Logits (B, labels) of a batch.
fn class_logits(model: &Classifier, batch: &Batch, dropout: &mut Dropout, device: &Device) -> Result<Traced> {
    Ok(model.logits(&token_rows(batch, device)?, dropout)?)
}

/// The tokens of a batch without its padding.
pub fn token_rows(batch: &Batch, device: &Device) -> Result<TokenRows> {
    let rows = batch.input_ids.chunks_exact(batch.seq_len).zip(&batch.lengths);
    let ids: Vec<u32> = rows.flat_map(|(row, length)| &row[..*length]).copied().collect();
    Ok(TokenRows::new(&ops::upload(&ids, ids.len(), device)?, &batch.lengths, 0)?)
}

/// Class probabilities of every row, in row order, whatever the batch size.
pub fn probabilities(
    model: &Classifier,
    examples: &Examples,
    rows_per_batch: usize,
    device: &Device,
    progress: &Progress,
) -> Result<Vec<Vec<f64>>> {
    let bar = progress.bar("classifying", examples.len() as u64);
    let mut found = vec![Vec::new(); examples.len()];
    let mut done = 0;
    for rows in examples.by_length(rows_per_batch) {
        let logits = class_logits(model, &examples.batch(&rows), &mut Dropout::off(), device)?;
        for (row, logits) in rows.iter().zip(logits.value().to_dtype(DType::F64)?.to_vec2::<f64>()?) {
            let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = logits.iter().map(|logit| (logit - highest).exp()).collect();
            let total: f64 = weights.iter().sum();
            found[*row] = weights.iter().map(|weight| weight / total).collect();
        }
        done += rows.len() as u64;
        bar.advance_to(done, || "rows".into());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::data::Example;
    use crate::model::{Head, LanguageModel, LlamaConfig, Params, parameter_specs};
    use crate::optim::OptimConfig;
    use crate::tokenizer::{Tokenizer, TokenizerConfig};

    #[test]
    fn each_metric_reads_its_score() {
        let names = ["ham".to_string(), "spam".to_string()];
        let probabilities = [0.1, 0.6, 0.4, 0.9].map(|spam| vec![1.0 - spam, spam]);
        let of = |labels: &[u32], metric: SelectionMetric| {
            let scores = Scores::compute(labels, &probabilities, &names, 1, Threshold::BestF1, None).unwrap();
            (metric.of(&scores), scores)
        };
        let (pr_auc, scores) = of(&[0, 0, 1, 1], SelectionMetric::PrAuc);
        assert!(Some(pr_auc) == scores.pr_auc && pr_auc != scores.f1, "{pr_auc}");
        assert_eq!(of(&[0, 0, 1, 1], SelectionMetric::F1).0, scores.f1);
        assert_eq!(of(&[0, 0, 1, 1], SelectionMetric::ValLoss).0, -scores.loss);
        let (undefined, scores) = of(&[0, 0, 0, 0], SelectionMetric::PrAuc);
        assert!(scores.pr_auc.is_none() && undefined == -scores.loss, "{undefined}");
    }

    #[test]
    fn the_loss_of_the_texts_is_that_of_a_language_model() {
        let texts = ["a cat", "the dog sat", "x"];
        let config = TokenizerConfig { vocab_size: 260, ..TokenizerConfig::default() };
        let tokenizer = Tokenizer::train(texts.iter().map(|text| text.to_string()), &config).unwrap();
        let rows = texts.map(|text| Example { text: text.into(), label: 1, line: 1 });
        let examples = Examples::encode(&tokenizer, &rows, 32).unwrap();
        let model = ModelConfig::Llama(LlamaConfig {
            vocab_size: tokenizer.vocab_size(),
            hidden_size: 16,
            intermediate_size: 32,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            num_key_value_heads: 1,
            ..LlamaConfig::default()
        });
        let head = Head::Classifier { num_labels: 2, pooling: Pooling::Mean };
        let params = Params::init(&parameter_specs(&model, head), 1, &Device::Cpu).unwrap();
        let state = State::new(params, BTreeSet::new(), &OptimConfig::default());
        let names = ["ham".to_string(), "spam".to_string()];
        let data =
            ClassificationData { train: &examples, validation: &examples, label_names: &names, positive: 1 };
        let classifier =
            ClassifierConfig { pooling: Pooling::Mean, language_model_weight: 0.7, ..Default::default() };
        let train = TrainConfig::default();
        let task = ClassificationTask::new(&model, None, &state, &data, &classifier, &train, 1).unwrap();

        let batch = examples.batch(&[0, 1, 2]);
        let loss = task.loss(&batch, 1.0, false, &mut Dropout::off()).unwrap();
        let ids: Vec<Vec<u32>> = texts.iter().map(|text| tokenizer.encode(text).unwrap()).collect();
        let language = LanguageModel::new(&model, &state.params.detached()).unwrap();
        let of_text = |ids: &Vec<u32>| {
            let next: Vec<u32> = ids[1..].iter().copied().chain([ops::IGNORE_INDEX]).collect();
            let device = &Device::Cpu;
            let rows =
                TokenRows::new(&ops::upload(ids, ids.len(), device).unwrap(), &[ids.len()], 0).unwrap();
            let losses = language.losses(&rows, &ops::upload(&next, next.len(), device).unwrap()).unwrap();
            losses.to_vec1::<f32>().unwrap().into_iter().map(f64::from).sum::<f64>()
        };
        let predicted: usize = ids.iter().map(|ids| ids.len() - 1).sum();
        let expected = 0.7 * ids.iter().map(of_text).sum::<f64>() / (predicted as f64 / 3.0);
        let value = |tensor: &candle_core::Tensor| f64::from(tensor.to_scalar::<f32>().unwrap());
        let beside = value(loss.total.value()) - value(&loss.of_targets);
        assert!((beside - expected).abs() < 1e-4 && expected > 5.0, "{beside} and {expected}");
    }
}
