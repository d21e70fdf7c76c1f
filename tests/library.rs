//! The library as a Rust program calls it: runs return values, models answer, and an observer hears how it goes.

use std::path::Path;
use std::sync::{Arc, Mutex};

use train::{
    Classifier, Context, Existing, FinetuneConfig, LanguageModel, Level, Observer, PretrainConfig, Progress,
    Sampling, Work, finetune, pretrain,
};

/// Keeps what it hears.
#[derive(Clone, Default)]
struct Recorder {
    lines: Arc<Mutex<Vec<(Level, String)>>>,
    work: Arc<Mutex<Vec<(String, u64, bool)>>>,
}

impl Observer for Recorder {
    fn say(&self, level: Level, text: &str) {
        self.lines.lock().unwrap().push((level, text.into()));
    }

    fn work(&self, work: &Work<'_>) {
        self.work.lock().unwrap().push((work.label.into(), work.position, work.ended));
    }
}

fn pretraining(folder: &Path) -> PretrainConfig {
    let mut config = PretrainConfig::on("demo");
    config.output_dir = folder.join("pretrained").display().to_string();
    config.device = "cpu".into();
    (config.tokenizer.vocab_size, config.bleu_prompts, config.prompts) = (300, 0, Vec::new());
    (config.train.seq_len, config.train.micro_batch_size, config.train.max_steps) = (16, 2, 3);
    config
}

#[test]
fn runs_return_what_they_store_and_their_models_answer() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::default();
    let context = Context { progress: Progress::to(recorder.clone()), ..Context::quiet() };
    let config = pretraining(folder.path());
    let model = pretrain(&config, &context).unwrap();
    let stored = std::fs::read_to_string(model.dir.join("results.json")).unwrap();
    let stored: serde_json::Value = serde_json::from_str(&stored).unwrap();
    assert_eq!(serde_json::json!(model.results), stored);
    let text = LanguageModel::load(&model.dir).unwrap().generate("I", &Sampling::greedy(3), 1).unwrap();
    assert_eq!(text, model.language_model().unwrap().generate("I", &Sampling::greedy(3), 1).unwrap());

    let work = recorder.work.lock().unwrap();
    assert!(work.iter().any(|(label, position, _)| label == "pretrain" && *position == 3), "{work:?}");
    assert_eq!(work.iter().filter(|(label, _, ended)| label == "pretrain" && *ended).count(), 1);
    let lines = recorder.lines.lock().unwrap();
    assert!(
        lines.iter().any(|(level, text)| *level == Level::Note && text.starts_with("data: ")),
        "{lines:?}"
    );

    let mut config = FinetuneConfig::from(&model).on("demo");
    config.output_dir = folder.path().join("classifier").display().to_string();
    config.device = "cpu".into();
    (config.train.seq_len, config.train.max_steps, config.data.label_budget) = (16, 3, 40);
    let run = finetune(&config, &Context::quiet()).unwrap();
    assert_eq!(run.predictions.labels.len(), run.predictions.probabilities.len());
    let classifier = run.classifier().unwrap();
    let answers = classifier.predict(["free prize", "see you"]).unwrap();
    for answer in &answers {
        assert!(answer.probabilities.contains(&(answer.label.clone(), answer.probability)));
        assert_eq!(answer.threshold, run.results.scores.test.threshold);
        assert!(
            (answer.probabilities.iter().map(|(_, probability)| probability).sum::<f64>() - 1.0).abs() < 1e-6
        );
    }

    // A run that is there is refused, and one that is done is read.
    assert!(finetune(&config, &Context::quiet()).is_err());
    let again = Context { existing: Existing::Resume, ..Context::quiet() };
    let read = finetune(&config, &again).unwrap();
    assert_eq!(read.predictions, run.predictions);
    assert_eq!(serde_json::json!(read.results), serde_json::json!(run.results));
}

#[test]
fn models_and_contexts_may_go_to_another_thread() {
    fn may_move<T: Send>() {}
    may_move::<Classifier>();
    may_move::<LanguageModel>();
    may_move::<Context>();
}
