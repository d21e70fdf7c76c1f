//! The metrics of the best evaluation, and the loss of the texts beside that of their labels.

use candle_core::Device;

use super::*;
use crate::data::Extent;
use crate::data::{Example, Examples};
use crate::metrics::{Scores, Threshold};
use crate::model::{
    Attention, BertConfig, Dropout, Head, LanguageModel, LlamaConfig, ModelConfig, Params, Pooling,
    TokenRows, parameter_specs,
};
use crate::ops;
use crate::optim::OptimConfig;
use crate::tokenizer::{Tokenizer, TokenizerConfig};
use crate::trainer::{State, Task, TrainConfig};

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
    let examples = Examples::encode(&tokenizer, &rows, Extent { max_tokens: 32, windows: 1 }).unwrap();
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
    let specs = parameter_specs(&model, head);
    let params = Params::init(&specs, 1, &Device::Cpu).unwrap();
    let state = State::of_all(params, &specs, &OptimConfig::default());
    let names = ["ham".to_string(), "spam".to_string()];
    let data = ClassificationData {
        train: &examples,
        validation: &examples,
        label_names: &names,
        positive: 1,
        threshold: Threshold::BestF1,
    };
    let classifier =
        ClassifierConfig { pooling: Some(Pooling::Mean), language_model_weight: 0.7, ..Default::default() };
    let train = TrainConfig::default();
    let settings =
        ClassificationSettings { model: &model, lora: None, classifier: &classifier, train: &train, seed: 1 };
    let task = ClassificationTask::new(settings, data, &state).unwrap();

    let batch = examples.batch(&[0, 1, 2]);
    let loss = task.loss(&batch, 1.0, &mut Dropout::off()).unwrap();
    let ids: Vec<Vec<u32>> = texts.iter().map(|text| tokenizer.encode(text).unwrap()).collect();
    let language = LanguageModel::new(&model, &state.params.detached()).unwrap();
    let of_text = |ids: &Vec<u32>| {
        let next: Vec<u32> = ids[1..].iter().copied().chain([ops::IGNORE_INDEX]).collect();
        let device = &Device::Cpu;
        let rows = TokenRows::new(&ops::upload(ids, ids.len(), device).unwrap(), &[ids.len()], 0).unwrap();
        let losses = language.losses(&rows, &ops::upload(&next, next.len(), device).unwrap()).unwrap();
        losses.to_vec1::<f32>().unwrap().into_iter().map(f64::from).sum::<f64>()
    };
    let predicted: usize = ids.iter().map(|ids| ids.len() - 1).sum();
    let expected = 0.7 * ids.iter().map(of_text).sum::<f64>() / (predicted as f64 / 3.0);
    let value = |tensor: &candle_core::Tensor| f64::from(tensor.to_scalar::<f32>().unwrap());
    let beside = value(loss.total.value()) - value(&loss.of_targets);
    assert!((beside - expected).abs() < 1e-4 && expected > 5.0, "{beside} and {expected}");
}

#[test]
fn what_the_head_reads_follows_from_the_family_where_nothing_is_said() {
    let (llama, bert) = (ModelConfig::default(), ModelConfig::Bert(BertConfig::default()));
    let open = ClassifierConfig::default();
    assert_eq!((open.pooling_of(&llama), open.pooling_of(&bert)), (Pooling::Concat, Pooling::Mean));
    let first = ClassifierConfig { pooling: Some(Pooling::First), ..open.clone() };
    assert_eq!(first.pooling_of(&bert), Pooling::First);
    assert!(first.check_for(&bert).is_ok() && first.check_for(&llama).is_err());
    let both = ClassifierConfig { attention: Some(Attention::Bidirectional), ..open.clone() };
    assert_eq!(both.pooling_of(&both.body(llama.clone())), Pooling::Mean);
    assert!(both.check_for(&llama).is_ok() && both.check_for(&bert).is_ok());
    let forwards = ClassifierConfig { attention: Some(Attention::Causal), ..open.clone() };
    assert!(forwards.check_for(&llama).is_ok() && forwards.check_for(&bert).is_err());
    let texts = ClassifierConfig { language_model_weight: 0.5, ..open };
    assert!(texts.check_for(&llama).is_ok() && texts.check_for(&bert).is_err());
}
