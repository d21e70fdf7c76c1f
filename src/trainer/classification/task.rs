//! The fine-tuning task: predict the label of a text.

use serde_json::{Map, Value, json};

use super::{ClassifierConfig, probabilities};
use crate::data::{Batch, Examples, RowSampler};
use crate::error::{Error, Result};
use crate::metrics::{Scores, Threshold};
use crate::model::{Classifier, Dropout, LoraConfig, ModelConfig, Params, Weights, is_head};
use crate::ops;
use crate::optim::Stage;
use crate::progress::Progress;
use crate::trainer::{BatchLoss, Evaluation, State, Task, TrainConfig, on_device};

/// Rows, labels and their names, as the task reads them.
#[derive(Clone, Copy)]
pub struct ClassificationData<'a> {
    /// Rows trained on.
    pub train: &'a Examples,
    /// Rows the best evaluation and the threshold are chosen on.
    pub validation: &'a Examples,
    /// Names in label order.
    pub label_names: &'a [String],
    /// Label that precision and recall are about.
    pub positive: usize,
    /// How an evaluation answers.
    pub threshold: Threshold,
}

/// The sections of the config that a classification follows, and its seed.
#[derive(Clone, Copy)]
pub struct ClassificationSettings<'a> {
    /// Sizes of the model.
    pub model: &'a ModelConfig,
    /// `[lora]`: some parameters are updates of others.
    pub lora: Option<&'a LoraConfig>,
    /// `[classifier]`.
    pub classifier: &'a ClassifierConfig,
    /// `[train]`.
    pub train: &'a TrainConfig,
    /// Seed of the order of the rows.
    pub seed: u64,
}

impl ClassificationSettings<'_> {
    fn model_over(&self, weights: &Weights) -> Result<Classifier> {
        Ok(Classifier::with_lora(self.model, weights, self.classifier.pooling_of(self.model), self.lora)?)
    }
}

/// Classification of labelled rows.
pub struct ClassificationTask<'a> {
    settings: ClassificationSettings<'a>,
    data: ClassificationData<'a>,
    sampler: RowSampler,
    /// Batches of the epoch they were last asked for.
    epoch: Option<(u64, Vec<Vec<usize>>)>,
    class_weights: Vec<f32>,
    /// What the language-model loss of each token is multiplied by.
    language_factor: f64,
    training: StageModel,
    eval_model: Classifier,
}

/// The model whose parameters that a stage trains are tracked.
struct StageModel {
    model: Classifier,
    trains_body: bool,
}

impl StageModel {
    fn new(settings: &ClassificationSettings<'_>, stage: &Stage, params: &Params) -> Result<Self> {
        let trains_body = params.iter().any(|(name, _)| !is_head(name) && stage.trains(name));
        let model = settings.model_over(&params.tracked(|name| stage.trains(name)))?;
        Ok(Self { model: model.with_recompute(settings.train.recompute && trains_body), trains_body })
    }
}

impl<'a> ClassificationTask<'a> {
    /// The task over the parameters of `state`, which it follows as they change.
    ///
    /// Errors: class weights that do not fit the labels; a language-model loss for a model without tied embeddings.
    pub fn new(
        settings: ClassificationSettings<'a>,
        data: ClassificationData<'a>,
        state: &State,
    ) -> Result<Self> {
        let ClassificationSettings { model, classifier, train, seed, .. } = settings;
        if classifier.language_model_weight > 0.0 && !model.tie_word_embeddings() {
            return Err(Error::usage(
                "classifier.language_model_weight needs a model with tied embeddings, whose classifier can still \
                 predict tokens; this one has tie_word_embeddings = false; set the weight to 0",
            ));
        }
        Ok(Self {
            settings,
            sampler: data.train.sampler(train.micro_batch_size, seed),
            epoch: None,
            class_weights: classifier.weights(data.train.labels(), data.label_names.len())?,
            language_factor: classifier.language_model_weight / data.train.mean_predicted_tokens().max(1.0),
            data,
            training: StageModel::new(&settings, state.stage(), &state.params)?,
            eval_model: settings.model_over(&state.params.detached())?,
        })
    }

    fn steps_in_epoch(&self) -> u64 {
        self.sampler.batches_per_epoch().div_ceil(self.settings.train.grad_accum_steps as u64)
    }
}

impl Task for ClassificationTask<'_> {
    fn batches(&mut self, step: u64) -> Result<Vec<Batch>> {
        let (epoch, place) = (step / self.steps_in_epoch(), step % self.steps_in_epoch());
        if self.epoch.as_ref().is_none_or(|(at, _)| *at != epoch) {
            self.epoch = Some((epoch, self.sampler.epoch(epoch)));
        }
        let batches = self.epoch.as_ref().map_or(&[][..], |(_, batches)| batches);
        let micro_steps = self.settings.train.grad_accum_steps;
        let rows = batches.iter().skip(place as usize * micro_steps).take(micro_steps);
        Ok(rows.map(|rows| self.data.train.batch(rows)).collect())
    }

    fn count(&self, batch: &Batch) -> f64 {
        batch.targets.iter().map(|label| f64::from(self.class_weights[*label as usize])).sum()
    }

    fn begin_stage(&mut self, stage: &Stage, params: &Params) -> Result<()> {
        self.training = StageModel::new(&self.settings, stage, params)?;
        Ok(())
    }

    fn loss(&self, batch: &Batch, scale: f64, dropout: &mut Dropout) -> Result<BatchLoss> {
        let StageModel { model, trains_body } = &self.training;
        let device = model.device();
        let (rows, targets) = on_device(batch, device)?;
        let hidden = model.hidden(&rows, dropout)?;
        let logits = model.score(&hidden, &rows, dropout)?;
        let losses = ops::cross_entropy(&logits, &targets)?;
        let weight = |label: &u32| (f64::from(self.class_weights[*label as usize]) * scale) as f32;
        let weights: Vec<f32> = batch.targets.iter().map(weight).collect();
        let weights = ops::upload_f32(&weights, device)?.to_dtype(losses.dtype())?;
        let loss = ops::weighted_sum(&losses, &weights)?;
        if self.language_factor == 0.0 || !trains_body {
            return Ok(loss.into());
        }
        let next = batch.next_ids(ops::IGNORE_INDEX);
        let next = ops::upload(&next, next.len(), device)?;
        let of_texts = model.language_loss(&hidden, &next, self.language_factor * scale)?;
        Ok(BatchLoss { of_targets: loss.value().clone(), total: ops::add(&loss, &of_texts, None)? })
    }

    fn evaluate(&self, progress: &Progress) -> Result<Evaluation> {
        let ClassificationData { validation, label_names, positive, threshold, .. } = self.data;
        let (model, rows) = (&self.eval_model, self.settings.train.micro_batch_size);
        let probabilities = probabilities(model, validation, rows, model.device(), progress)?;
        let scores =
            Scores::compute(validation.labels(), &probabilities, label_names, positive, threshold, None)?;
        let mut fields = Map::new();
        let mut field = |name: &str, value: Value| fields.insert(format!("val_{name}"), value);
        field("accuracy", json!(scores.accuracy));
        field("precision", json!(scores.precision));
        field("recall", json!(scores.recall));
        field("f1", json!(scores.f1));
        field("pr_auc", json!(scores.pr_auc));
        let score = self.settings.classifier.selection_metric.of(&scores);
        Ok(Evaluation { loss: scores.loss, score, fields })
    }

    fn steps_per_epoch(&self) -> f64 {
        self.steps_in_epoch() as f64
    }

    fn default_eval_interval(&self) -> u64 {
        self.steps_in_epoch()
    }
}
