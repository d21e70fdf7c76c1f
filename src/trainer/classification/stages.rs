//! What a fine-tuning trains when: freezing, low-rank updates and a head with a rate of its own are one list of stages.

use super::{ClassifierConfig, Freeze};
use crate::model::{LoraConfig, ParamSpec, Place};
use crate::optim::{OptimConfig, ParamGroup, Stage};

/// The stages that `[classifier]`, `[lora]` and `[optim]` describe.
pub fn stages(
    specs: &[ParamSpec],
    classifier: &ClassifierConfig,
    lora: Option<&LoraConfig>,
    optim: &OptimConfig,
) -> Vec<Stage> {
    let block = |spec: &ParamSpec| match spec.place {
        Place::Block(number) => Some(number),
        _ => None,
    };
    let blocks = specs.iter().filter_map(block).max().map_or(0, |last| last + 1);
    let first_trained = blocks.saturating_sub(classifier.trainable_blocks);
    let is_head = |spec: &ParamSpec| spec.place == Place::Head;
    let trains = |spec: &ParamSpec| match (lora, classifier.freeze) {
        (Some(lora), _) => lora.trains(&spec.name),
        (None, Freeze::None) => true,
        (None, Freeze::AllButHead) => is_head(spec),
        (None, Freeze::AllButLastBlocks) => match spec.place {
            Place::Embedding => false,
            Place::Block(number) => number >= first_trained,
            Place::FinalNorm | Place::Head => true,
        },
    };
    let head_scale = match classifier.head_learning_rate {
        0.0 => 1.0,
        rate => rate / optim.learning_rate.max(f64::MIN_POSITIVE),
    };
    let head = ParamGroup::by_kind_and_decay(specs, optim, head_scale, is_head);
    let body = ParamGroup::by_kind_and_decay(specs, optim, 1.0, |spec| trains(spec) && !is_head(spec));
    let all = Stage { until: 1.0, groups: [body, head.clone()].concat() };
    match classifier.head_only_fraction {
        0.0 => vec![all],
        until => vec![Stage { until, groups: head.into() }, all],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Head, LlamaConfig, ModelConfig, Pooling, parameter_specs};

    /// (until, learning-rate scale, number of parameters) of each group, for a model of two blocks.
    fn groups(classifier: &ClassifierConfig, lora: Option<&LoraConfig>) -> Vec<(f64, f64, usize)> {
        let model = ModelConfig::Llama(LlamaConfig {
            vocab_size: 40,
            hidden_size: 16,
            intermediate_size: 32,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            num_key_value_heads: 1,
            ..LlamaConfig::default()
        });
        let mut specs = parameter_specs(&model, Head::Classifier { num_labels: 2, pooling: Pooling::Last });
        if let Some(lora) = lora {
            specs.extend(lora.specs(&model).unwrap());
        }
        let optim = OptimConfig { learning_rate: 0.1, ..OptimConfig::default() };
        let stages = stages(&specs, classifier, lora, &optim);
        let of_stage = |stage: &Stage| {
            let until = stage.until;
            let of_group = move |group: &ParamGroup| (until, group.learning_rate_scale, group.names.len());
            stage.groups.iter().map(of_group).collect::<Vec<_>>()
        };
        stages.iter().flat_map(of_stage).filter(|(.., names)| *names > 0).collect()
    }

    #[test]
    fn each_setting_fills_the_list_in_its_own_way() {
        // Of each block 7 matrices and 2 norms; embedding and last norm; the head.
        let plain = ClassifierConfig::default();
        assert_eq!(groups(&plain, None), [(1.0, 1.0, 14), (1.0, 1.0, 6), (1.0, 1.0, 1)]);
        let frozen = ClassifierConfig { freeze: Freeze::AllButHead, ..plain.clone() };
        assert_eq!(groups(&frozen, None), [(1.0, 1.0, 1)]);
        let last = ClassifierConfig { freeze: Freeze::AllButLastBlocks, ..plain.clone() };
        assert_eq!(groups(&last, None), [(1.0, 1.0, 7), (1.0, 1.0, 3), (1.0, 1.0, 1)]);
        let first = ClassifierConfig { head_only_fraction: 0.25, head_learning_rate: 0.3, ..plain.clone() };
        let scale = 0.3 / 0.1;
        assert_eq!(groups(&first, None), [(0.25, scale, 1), (1.0, 1.0, 14), (1.0, 1.0, 6), (1.0, scale, 1)]);
        let lora = LoraConfig::default();
        let updates = groups(&plain, Some(&lora));
        assert_eq!((updates.len(), updates[1]), (2, (1.0, 1.0, 1)), "updates and head alone: {updates:?}");
    }
}
