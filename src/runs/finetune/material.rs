//! What a fine-tuning works on: rows, tokenizer, sizes, and the state before the first step.

use candle_core::Device;

use super::recipe::{self, Facts};
use crate::analysis::one_sided;
use crate::config::FinetuneConfig;
use crate::data::{Example, Examples, Extent, LabelledSplit};
use crate::error::{Error, Result};
use crate::model::{Head, ModelConfig, Pooling, parameter_specs};
use crate::progress::Progress;
use crate::runs::lifecycle;
use crate::runs::start::Start;
use crate::tokenizer::Tokenizer;
use crate::trainer::{self, Freeze, State, stages};

/// Said where low-rank updates begin from random weights.
const LORA_FROM_SCRATCH: &str = "[lora] from scratch: the random weights stay as they are, only their low-rank updates \
                                 and the head are trained; leave [lora] out to train everything, and no adapter is \
                                 stored, since nobody else has these weights";

/// Rows of the three parts as tokens.
pub struct Parts {
    /// Trained on.
    pub train: Examples,
    /// Chosen by.
    pub validation: Examples,
    /// Measured on.
    pub test: Examples,
}

impl Parts {
    /// As much of the texts as `extent` says.
    pub fn encode(split: &LabelledSplit, tokenizer: &Tokenizer, extent: Extent) -> Result<Self> {
        let encode = |rows: &[Example]| Examples::encode(tokenizer, rows, extent);
        Ok(Self {
            train: encode(&split.train)?,
            validation: encode(&split.validation)?,
            test: encode(&split.test)?,
        })
    }
}

/// What a fine-tuning is asked to do with which rows.
pub struct Asked<'a> {
    /// All settings, some of them open.
    pub config: &'a FinetuneConfig,
    /// Rows as texts.
    pub split: &'a LabelledSplit,
    /// Makes ids of texts.
    pub tokenizer: &'a Tokenizer,
    /// The model as it starts.
    pub model: &'a ModelConfig,
}

impl Asked<'_> {
    /// The settings with what the rows say of those left open, and the rows as ids.
    pub fn completed(&self, from_scratch: bool) -> Result<(FinetuneConfig, Parts)> {
        let longest = Extent { max_tokens: recipe::longest_text(self.config, self.model), windows: 1 };
        let parts = Parts::encode(self.split, self.tokenizer, longest)?;
        let lora = self.config.lora.is_some();
        let around = self.tokenizer.encode("")?.len();
        let facts =
            Facts { lengths: parts.train.uncut_lengths(), around, model: self.model, from_scratch, lora };
        let completed = recipe::completed(self.config, &facts);
        let extent = Extent { max_tokens: completed.train.seq_len, windows: completed.classifier.windows };
        if extent == longest {
            return Ok((completed, parts));
        }
        drop(parts);
        let parts = Parts::encode(self.split, self.tokenizer, extent)?;
        Ok((completed, parts))
    }
}

/// What a fine-tuning works on.
pub struct Material<'a> {
    /// All settings.
    pub config: &'a FinetuneConfig,
    /// Rows as texts.
    pub split: LabelledSplit,
    /// Makes ids of texts.
    pub tokenizer: Tokenizer,
    /// Rows as ids.
    pub parts: Parts,
    /// The model as it is trained.
    pub model: ModelConfig,
}

impl Material<'_> {
    /// What the head reads.
    pub fn pooling(&self) -> Pooling {
        self.config.classifier.pooling_of(&self.model)
    }
}

/// Notes how many rows and labels there are, and what was left out.
pub fn describe_data(split: &LabelledSplit, progress: &Progress) {
    let (train, validation, test) = (split.train.len(), split.validation.len(), split.test.len());
    progress.note(format!("data: {train} rows to train on, {validation} to validate on, {test} to test on"));
    let count = |label: usize| split.train.iter().filter(|row| row.label as usize == label).count();
    let shares = split.label_names.iter().enumerate().map(|(label, name)| format!("{name} {}", count(label)));
    let leading = match split.positive_leads {
        true => format!("F1 of {}", split.label_names[split.positive]),
        false => "macro F1".into(),
    };
    progress.note(format!("labels: {}; {leading} leads", shares.collect::<Vec<_>>().join(", ")));
    if split.duplicates_dropped + split.leaked_dropped + split.contradictions > 0 {
        progress.note(format!(
            "dropped {} duplicates, {} training rows that are in validation or test, {} contradictory labels",
            split.duplicates_dropped, split.leaked_dropped, split.contradictions
        ));
    }
    if let [validation, test] = split.left_out
        && validation + test > 0
    {
        progress.note(format!("left out: {validation} validation rows and {test} test rows"));
    }
}

/// Warns of labels that are likely one, and of validation rows that cannot choose.
pub fn warn_of_labels(split: &LabelledSplit, progress: &Progress) {
    split.warnings.iter().for_each(|words| progress.warn(words));
    let validation: Vec<u32> = split.validation.iter().map(|row| row.label).collect();
    one_sided(&validation, &split.label_names).into_iter().for_each(|words| progress.warn(words));
}

/// The pre-trained model's tokenizer; from scratch the one named, or one trained on the training texts.
pub fn tokenizer(config: &FinetuneConfig, start: &Start, split: &LabelledSplit) -> Result<Tokenizer> {
    let path = &config.tokenizer.path;
    let named = (!path.is_empty()).then(|| Tokenizer::load(path.as_ref())).transpose()?;
    match (start, named) {
        (Start::Scratch, Some(named)) => Ok(named),
        (Start::Scratch, None) => {
            Tokenizer::train(split.train.iter().map(|row| row.text.clone()), &config.tokenizer)
        }
        (Start::Pretrained(folder), Some(named)) if named.sha256() != folder.tokenizer.sha256() => {
            let (ours, theirs) = (&named.sha256()[..12], &folder.tokenizer.sha256()[..12]);
            let why = format!("tokenizer {path} is {ours}, the pre-trained model's is {theirs}");
            Err(Error::data(format!("{why}; leave tokenizer.path empty to take the model's own")))
        }
        (Start::Pretrained(_), Some(named)) => Ok(named),
        (Start::Pretrained(_), None) => Tokenizer::load(config.init_from.as_ref()),
    }
}

/// Errors: an encoder whose tokenizer does not put its first token before a text (65), or has none for the head to read
/// (2).
pub fn check_first_token(of: &Asked<'_>) -> Result<()> {
    let Asked { config, tokenizer, model, .. } = of;
    if !model.is_encoder() {
        return Ok(());
    }
    match tokenizer.encoder_tokens() {
        Some([first, ..]) => {
            let begins = tokenizer.encode("")?.first().is_some_and(|id| tokenizer.token(*id) == first);
            let why = format!("its tokenizer does not put {first} before a text");
            let hint = "take a tokenizer.json with the post_processor of its model";
            if begins { Ok(()) } else { Err(Error::data(format!("{}: {why}; {hint}", config.init_from))) }
        }
        None if config.classifier.pooling == Some(Pooling::First) => Err(Error::usage(
            "classifier.pooling = \"first\" reads the token [CLS], which this tokenizer does not have; take \"mean\"",
        )),
        None => Ok(()),
    }
}

/// Everything that training changes, before its first step.
pub fn state(of: &Material<'_>, start: Start, device: &Device, progress: &Progress) -> Result<State> {
    let Material { config, split, model, .. } = of;
    let num_labels = split.label_names.len();
    let head = Head::Classifier { num_labels, pooling: of.pooling() };
    let train = &config.train;
    let asked = trainer::Asked {
        model,
        head,
        train,
        optimizer: config.optim.kind,
        rows: train.micro_batch_size.min(of.parts.train.len()),
        tokens_per_row: of.parts.train.mean_predicted_tokens() + 1.0,
        trains_all: config.lora.is_none() && config.classifier.freeze == Freeze::None,
    };
    asked.check(device)?;
    let mut specs = parameter_specs(model, head);
    if let Some(lora) = &config.lora {
        specs.extend(lora.specs(model)?);
        if matches!(start, Start::Scratch) {
            progress.warn(LORA_FROM_SCRATCH);
        }
    }
    let params = lifecycle::computing(start.params(&specs, config.seed, device)?, config.train.precision)?;
    let stages = stages(&specs, &config.classifier, config.lora.as_ref(), &config.optim);
    let state = State::new(params, stages, &config.optim);
    let (all, trained) = (state.params.count(), state.trainable_count());
    let share = 100.0 * trained as f64 / all as f64;
    progress.note(format!("model: {all} parameters, {trained} of them trained ({share:.3} %)"));
    Ok(state)
}
