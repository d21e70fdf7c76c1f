//! What the config leaves open, from rows and start: length of texts, rates, and how long to train.

use crate::config::FinetuneConfig;
use crate::data::Examples;
use crate::model::ModelConfig;
use crate::progress::Progress;

/// What the settings that are left open follow from.
pub struct Facts<'a> {
    /// Tokens of each training text, uncut.
    pub lengths: &'a [usize],
    /// Special tokens among them, which each window has too.
    pub around: usize,
    /// The model as it starts: one that read forwards so far is no encoder yet.
    pub model: &'a ModelConfig,
    /// Whether its weights are random.
    pub from_scratch: bool,
    /// Whether low-rank updates are trained.
    pub lora: bool,
}

/// Tokens that a text may have where the config does not say so: attention grows with their square. This and the other
/// numbers are what did well on questions, reviews and messages: docs/results.md.
const LONGEST_TEXT: usize = 512;

/// The longest text that is looked at where the config leaves it open.
pub fn longest_text(config: &FinetuneConfig, model: &ModelConfig) -> usize {
    match config.train.seq_len {
        0 => model.max_position_embeddings().min(LONGEST_TEXT),
        given => given,
    }
}

/// The config with a number wherever it says 0 for what suits the data. What it returns follows from the number and
/// length of the training rows and from the start alone, so that a resumed run finds the same.
pub fn completed(config: &FinetuneConfig, facts: &Facts<'_>) -> FinetuneConfig {
    let mut config = config.clone();
    if config.train.seq_len == 0 {
        config.train.seq_len = enough_for_most(facts.lengths).min(longest_text(&config, facts.model));
    }
    if config.classifier.windows == 0 {
        config.classifier.windows =
            windows(length_of_most(facts.lengths), config.train.seq_len, facts.around).min(MOST_WINDOWS);
    }
    if config.optim.learning_rate == 0.0 {
        let (body, head) = learning_rates(facts);
        config.optim.learning_rate = body;
        if config.classifier.head_learning_rate == 0.0 {
            config.classifier.head_learning_rate = head;
        }
    }
    if config.train.is_endless() {
        let windows =
            |length: &usize| length.div_ceil(config.train.seq_len.max(1)).clamp(1, config.classifier.windows);
        let rows: usize = facts.lengths.iter().map(windows).sum();
        let steps_per_epoch = rows.div_ceil(config.train.global_batch_size()) as f64;
        let (epochs, least_steps) = length(facts);
        config.train.max_epochs = (least_steps / steps_per_epoch).max(epochs).ceil();
        if config.train.eval_interval == 0 {
            let steps = config.train.max_epochs * steps_per_epoch;
            config.train.eval_interval = (steps / EVALUATIONS).ceil() as u64;
        }
    }
    config
}

/// Says what was left open, and warns where many texts lose their end.
pub fn tell(asked: &FinetuneConfig, completed: &FinetuneConfig, rows: &Examples, progress: &Progress) {
    let FinetuneConfig { train, optim, classifier, .. } = completed;
    let mut parts = Vec::new();
    if asked.train.seq_len != train.seq_len {
        parts.push(format!("texts of up to {} tokens", train.seq_len));
    }
    if asked.classifier.windows != classifier.windows && classifier.windows > 1 {
        parts.push(format!("longer texts in up to {} windows", classifier.windows));
    }
    if asked.optim.learning_rate != optim.learning_rate {
        let (body, head) = (optim.learning_rate, classifier.head_learning_rate);
        parts.push(format!("learning rate {body:.1e}, of the head {head:.1e}"));
    }
    if asked.train.max_epochs != train.max_epochs {
        parts.push(format!("{} epochs, evaluated every {} steps", train.max_epochs, train.eval_interval));
    }
    if !parts.is_empty() {
        progress.note(format!("from the data: {}", parts.join("; ")));
    }
    let share = rows.truncated() as f64 / rows.len().max(1) as f64;
    if share >= MUCH_CUT && !progress.is_inner() {
        progress.warn(format!(
            "{:.1} % of the training texts are longer than {} and lose their end; raise classifier.windows, or train.seq_len \
             as far as the model's number of positions allows",
            100.0 * share,
            match classifier.windows {
                1 => format!("{} tokens", train.seq_len),
                windows => format!("{windows} windows of {} tokens", train.seq_len),
            }
        ));
    }
}

/// Share of texts cut from which it is told.
const MUCH_CUT: f64 = 0.05;

/// Evaluations of a run whose length is left open.
const EVALUATIONS: f64 = 12.0;

/// Length that all but one in a hundred texts stay within.
fn length_of_most(lengths: &[usize]) -> usize {
    let mut sorted = lengths.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * 99 / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(1)
}

/// The next multiple of 16 tokens.
fn enough_for_most(lengths: &[usize]) -> usize {
    length_of_most(lengths).next_multiple_of(16)
}

/// More windows of one text cost more than they tell.
const MOST_WINDOWS: usize = 8;

/// Windows of `seq_len` tokens that a text of this length needs.
fn windows(length: usize, seq_len: usize, around: usize) -> usize {
    let room = seq_len.saturating_sub(around);
    if length <= seq_len || room == 0 { 1 } else { (length - around).div_ceil(room) }
}

/// Of body and head. Wide models want smaller steps, and a head that knows nothing larger ones than a body that knows
/// much.
fn learning_rates(facts: &Facts<'_>) -> (f64, f64) {
    const WIDTH: f64 = 150.0;
    let narrowness = (WIDTH / facts.model.sizes().hidden_size as f64).min(1.0);
    match (facts.from_scratch, facts.lora) {
        (true, _) => (1e-3 * narrowness, 1e-3 * narrowness),
        // Few numbers that start at zero.
        (false, true) => (1e-3, 1e-3),
        (false, false) => (5e-4 * narrowness * narrowness, 1e-3),
    }
}

/// Epochs, and the least number of steps: an encoder that knows the world is soon adapted.
fn length(facts: &Facts<'_>) -> (f64, f64) {
    match facts.model.is_encoder() && !facts.from_scratch {
        true => (4.0, 120.0),
        false => (10.0, 250.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BertConfig, LlamaConfig};

    fn completed_for(rows: usize, model: &ModelConfig, from_scratch: bool) -> FinetuneConfig {
        let lengths: Vec<usize> = (0..rows).map(|row| if row == 0 { 400 } else { 21 }).collect();
        completed(
            &FinetuneConfig::default(),
            &Facts { lengths: &lengths, around: 1, model, from_scratch, lora: false },
        )
    }

    #[test]
    fn open_settings_follow_from_rows_and_start() {
        let llama = ModelConfig::Llama(LlamaConfig::default());
        let encoder = ModelConfig::Bert(BertConfig { hidden_size: 384, ..BertConfig::default() });
        let few = completed_for(160, &llama, true);
        assert_eq!((few.train.seq_len, few.classifier.windows), (32, 1), "the one long text is cut");
        assert_eq!((few.train.max_epochs, few.train.eval_interval), (25.0, 21), "250 steps of 16 rows");
        assert_eq!((few.optim.learning_rate, few.classifier.head_learning_rate), (1e-3, 1e-3));
        assert_eq!(completed_for(16_000, &llama, true).train.max_epochs, 10.0);
        let adapted = completed_for(16_000, &encoder, false);
        assert_eq!((adapted.train.max_epochs, adapted.classifier.head_learning_rate), (4.0, 1e-3));
        assert!((adapted.optim.learning_rate - 7.63e-5).abs() < 1e-7);
    }

    #[test]
    fn what_the_config_says_stays() {
        let model = ModelConfig::Llama(LlamaConfig::default());
        let mut config = FinetuneConfig::default();
        (config.train.seq_len, config.train.max_steps) = (48, 7);
        (config.optim.learning_rate, config.classifier.head_learning_rate) = (3e-4, 2e-3);
        config.classifier.windows = 1;
        let facts = Facts { lengths: &[5; 100], around: 1, model: &model, from_scratch: false, lora: false };
        assert_eq!(completed(&config, &facts), config);
        config.classifier.head_learning_rate = 0.0;
        assert_eq!(completed(&config, &facts), config, "the head then has the rate of the body");
    }

    #[test]
    fn texts_beyond_the_models_positions_are_read_in_windows_and_count_as_so_many_rows() {
        let model =
            ModelConfig::Llama(LlamaConfig { max_position_embeddings: 100, ..LlamaConfig::default() });
        let of = |length: usize| {
            let lengths = vec![length; 1600];
            let facts =
                Facts { lengths: &lengths, around: 1, model: &model, from_scratch: true, lora: false };
            let completed = completed(&FinetuneConfig::default(), &facts);
            (completed.train.seq_len, completed.classifier.windows, completed.train.eval_interval)
        };
        // 10 epochs of 100 steps, and of 300; evaluated twelve times.
        assert_eq!(of(90), (96, 1, 84));
        assert_eq!(of(290), (100, 3, 250));
        // One more than three windows hold, each with a special token: 298 = 3 * 99 + 1.
        assert_eq!((of(298).1, of(299).1), (3, 4));
        assert_eq!(of(5000).1, 8);
    }

    #[test]
    fn no_text_is_longer_than_the_models_positions() {
        let model = ModelConfig::Llama(LlamaConfig { max_position_embeddings: 40, ..LlamaConfig::default() });
        assert_eq!(longest_text(&FinetuneConfig::default(), &model), 40);
        let facts = Facts { lengths: &[40; 100], around: 1, model: &model, from_scratch: true, lora: false };
        assert_eq!(completed(&FinetuneConfig::default(), &facts).train.seq_len, 40);
    }
}
