//! The pre-training task: predict the next token.

use candle_core::{DType, Device};
use serde_json::{Map, json};

use super::{BatchLoss, Evaluation, State, Task, on_device};
use crate::data::{Batch, LanguageData};
use crate::error::{Error, Result};
use crate::generate::{Generator, Sampling};
use crate::metrics::LanguageScores;
use crate::model::{Dropout, LanguageModel, ModelConfig, Params};
use crate::optim::Stage;
use crate::progress::Progress;
use crate::results::Sample;
use crate::signals;
use crate::trainer::TrainConfig;

/// Language modelling over a tokenised corpus.
pub struct LanguageTask<'a> {
    data: &'a LanguageData,
    train: &'a TrainConfig,
    config: &'a ModelConfig,
    model: LanguageModel,
    eval_model: LanguageModel,
    token_bytes: Vec<u32>,
    validation_bytes: Option<u64>,
    prompts: Prompts,
    device: Device,
}

/// What is continued at each evaluation, so that one can read what the model has learned.
pub struct Prompts {
    /// An empty one starts a text.
    pub texts: Vec<String>,
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// Seed of the choice.
    pub seed: u64,
}

impl<'a> LanguageTask<'a> {
    /// The task over the parameters of `state`, which it follows as they change.
    pub fn new(
        config: &'a ModelConfig,
        state: &State,
        data: &'a LanguageData,
        train: &'a TrainConfig,
        prompts: Prompts,
    ) -> Result<Self> {
        Ok(Self {
            data,
            train,
            config,
            model: model_of_stage(config, state.stage(), &state.params, train)?,
            eval_model: LanguageModel::new(config, &state.params.detached())?,
            token_bytes: data.corpus().tokenizer.token_bytes(),
            validation_bytes: data.validation_bytes()?,
            prompts,
            device: state.params.device(),
        })
    }

    fn generator(&self) -> Generator<'_> {
        Generator { model: &self.eval_model, tokenizer: &self.data.corpus().tokenizer }
    }

    /// What the positions of the model take from the samples, in words.
    pub fn prompt_limits(&self) -> Result<Vec<String>> {
        let Prompts { texts, sampling, .. } = &self.prompts;
        texts.iter().filter_map(|prompt| self.generator().limit(prompt, sampling).transpose()).collect()
    }

    /// Each prompt with its continuation.
    pub fn samples(&self) -> Result<Vec<Sample>> {
        let (generator, Prompts { texts, sampling, seed }) = (self.generator(), &self.prompts);
        let tokenizer = generator.tokenizer;
        let sample = |prompt: &String| -> Result<Sample> {
            let new = generator.ids(&tokenizer.encode(prompt)?, sampling, *seed)?;
            Ok(Sample { prompt: prompt.clone(), continuation: tokenizer.decode(&new)?, seed: *seed })
        };
        texts.iter().map(sample).collect()
    }

    /// How well the model predicts the validation text.
    pub fn scores(&self, progress: &Progress) -> Result<LanguageScores> {
        let batches = self.data.validation_batches(self.train.micro_batch_size);
        let bar = progress.bar("evaluating", batches.len() as u64);
        let mut sums = LanguageSums::new(&self.eval_model, &self.device);
        for (done, batch) in batches.enumerate() {
            sums.add(&batch?, &self.token_bytes)?;
            bar.advance_to(done as u64 + 1, || format!("loss {:.3}", sums.mean()));
        }
        sums.scores(self.validation_bytes)
    }

    /// The model without autograd.
    pub fn eval_model(&self) -> &LanguageModel {
        &self.eval_model
    }
}

impl Task for LanguageTask<'_> {
    fn batches(&mut self, step: u64) -> Result<Vec<Batch>> {
        let first = step * self.train.global_batch_size() as u64;
        let rows = self.train.micro_batch_size;
        let starts = (0..self.train.grad_accum_steps).map(|micro_step| first + (micro_step * rows) as u64);
        starts.map(|start| self.data.train_batch(start, rows)).collect()
    }

    fn count(&self, batch: &Batch) -> f64 {
        batch.tokens() as f64
    }

    fn begin_stage(&mut self, stage: &Stage, params: &Params) -> Result<()> {
        self.model = model_of_stage(self.config, stage, params, self.train)?;
        Ok(())
    }

    fn loss(&self, batch: &Batch, scale: f64, dropout: &mut Dropout) -> Result<BatchLoss> {
        let (rows, targets) = on_device(batch, &self.device)?;
        Ok(self.model.loss(&rows, &targets, scale, dropout)?.into())
    }

    fn evaluate(&self, progress: &Progress) -> Result<Evaluation> {
        let scores = self.scores(progress)?;
        let mut fields = Map::new();
        fields.insert("val_perplexity".into(), json!(scores.val_perplexity));
        fields.insert("val_bits_per_byte".into(), json!(scores.val_bits_per_byte));
        fields.insert("samples".into(), json!(self.samples()?));
        Ok(Evaluation { loss: scores.val_loss, score: -scores.val_loss, fields })
    }

    fn steps_per_epoch(&self) -> f64 {
        self.data.samples_per_epoch() as f64 / self.train.global_batch_size() as f64
    }

    fn default_eval_interval(&self) -> u64 {
        0
    }
}

/// The model whose parameters that `stage` trains are tracked.
fn model_of_stage(
    config: &ModelConfig,
    stage: &Stage,
    params: &Params,
    train: &TrainConfig,
) -> Result<LanguageModel> {
    let weights = params.tracked(|name| stage.trains(name));
    Ok(LanguageModel::new(config, &weights)?.with_recompute(train.recompute))
}

/// Loss, perplexity and bits per byte over batches, from sums: independent of how they are cut.
///
/// The loss counts every target. Bits per byte counts the targets that stand for text; ends of documents are left out
/// on both sides.
pub struct LanguageSums<'a> {
    model: &'a LanguageModel,
    device: &'a Device,
    nats: f64,
    tokens: u64,
    text_nats: f64,
    bytes: u64,
}

impl<'a> LanguageSums<'a> {
    /// Nothing predicted so far.
    pub fn new(model: &'a LanguageModel, device: &'a Device) -> Self {
        Self { model, device, nats: 0.0, tokens: 0, text_nats: 0.0, bytes: 0 }
    }

    /// Predicts a batch; `bytes_of_id` are those of text behind each id, 0 for what is no text.
    ///
    /// Errors: a signal.
    pub fn add(&mut self, batch: &Batch, bytes_of_id: &[u32]) -> Result<()> {
        signals::check()?;
        let (rows, targets) = on_device(batch, self.device)?;
        let losses = self.model.losses(&rows, &targets)?.to_dtype(DType::F32)?;
        for (loss, target) in losses.to_vec1::<f32>()?.into_iter().zip(&batch.targets) {
            self.nats += f64::from(loss);
            self.tokens += 1;
            let bytes = bytes_of_id.get(*target as usize).copied().unwrap_or(0);
            if bytes > 0 {
                self.text_nats += f64::from(loss);
                self.bytes += u64::from(bytes);
            }
        }
        Ok(())
    }

    /// Nats per token so far.
    pub fn mean(&self) -> f64 {
        self.nats / self.tokens.max(1) as f64
    }

    /// The scores; `bytes` are those of the text where its ids do not add up to it.
    ///
    /// Errors: nothing was predicted (65); a loss that is not finite (76).
    pub fn scores(self, bytes: Option<u64>) -> Result<LanguageScores> {
        if !self.nats.is_finite() {
            return Err(Error::not_finite());
        }
        LanguageScores::from_totals(self.nats, self.tokens, self.text_nats, bytes.unwrap_or(self.bytes))
    }
}
