use candle_core::{DType, Device, Var};

use super::*;
use crate::model::{
    BertConfig, Classifier, Gpt2Config, Head, LlamaConfig, Params, Pooling, TokenRows, parameter_specs,
};
use crate::ops::GradientSums;

const HEAD: Head = Head::Classifier { num_labels: 3, pooling: Pooling::Last };

/// Every family, two blocks each; Llama with grouped queries.
fn models() -> [ModelConfig; 3] {
    let llama = LlamaConfig {
        vocab_size: 11,
        hidden_size: 12,
        intermediate_size: 10,
        num_hidden_layers: 2,
        num_attention_heads: 3,
        num_key_value_heads: 1,
        head_dim: 6,
        max_position_embeddings: 8,
        initializer_range: 0.3,
        ..Default::default()
    };
    let gpt2 = Gpt2Config {
        vocab_size: 11,
        n_positions: 8,
        n_embd: 12,
        n_layer: 2,
        n_head: 3,
        initializer_range: 0.3,
        ..Default::default()
    };
    let bert = BertConfig {
        vocab_size: 11,
        max_position_embeddings: 8,
        hidden_size: 12,
        intermediate_size: 10,
        num_hidden_layers: 2,
        num_attention_heads: 3,
        initializer_range: 0.3,
        ..Default::default()
    };
    [ModelConfig::Llama(llama), ModelConfig::Gpt2(gpt2), ModelConfig::Bert(bert)]
}

fn lora(targets: &[&str]) -> LoraConfig {
    let target_modules = targets.iter().map(|name| name.to_string()).collect();
    LoraConfig { r: 2, lora_alpha: 5, lora_dropout: 0.0, target_modules }
}

/// Every linear map, and the first and last of those whose outputs stand side by side.
fn choices(config: &ModelConfig) -> Vec<LoraConfig> {
    match config {
        ModelConfig::Llama(_) | ModelConfig::EuroBert(_) => vec![
            lora(&["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
            lora(&[]),
            lora(&["k_proj", "up_proj"]),
        ],
        ModelConfig::Gpt2(_) | ModelConfig::BidirectionalGpt2(_) => {
            vec![lora(&["c_attn", "c_proj", "c_fc"]), lora(&[])]
        }
        ModelConfig::Bert(_) => {
            vec![lora(&["query", "key", "value", "dense"]), lora(&[]), lora(&["key", "intermediate.dense"])]
        }
    }
}

/// Parameters in f64, the updates' B drawn too unless they shall be `fresh`.
fn weights(config: &ModelConfig, lora: &LoraConfig, fresh: bool) -> Weights {
    let mut specs = parameter_specs(config, HEAD);
    specs.extend(lora.specs(config).unwrap());
    for spec in &mut specs {
        if !fresh && spec.name.ends_with(B) {
            spec.init = Init::Normal(0.5);
        }
    }
    let params = Params::init(&specs, 3, &Device::Cpu).unwrap();
    let all = params.snapshot(|_| true).unwrap();
    all.into_iter().map(|(name, tensor)| (name, tensor.to_dtype(DType::F64).unwrap())).collect()
}

fn rows() -> TokenRows {
    TokenRows::new(&Tensor::new(&[1u32, 4, 7, 2, 9, 5, 3], &Device::Cpu).unwrap(), &[4, 3], 0).unwrap()
}

fn logits(config: &ModelConfig, weights: &Weights, lora: Option<&LoraConfig>) -> Vec<f64> {
    let model = Classifier::with_lora(config, weights, Pooling::Last, lora).unwrap();
    let logits = model.logits(&rows(), &mut Dropout::off()).unwrap();
    logits.value().flatten_all().unwrap().to_vec1().unwrap()
}

fn furthest(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |furthest, (a, b)| furthest.max((a - b).abs()))
}

#[test]
fn a_fresh_update_leaves_the_logits_as_they_are() {
    for config in models() {
        for lora in choices(&config) {
            let weights = weights(&config, &lora, true);
            assert_eq!(logits(&config, &weights, Some(&lora)), logits(&config, &weights, None));
            let merged = lora.merged(&config, &weights).unwrap();
            assert_eq!(logits(&config, &merged, None), logits(&config, &weights, None));
        }
    }
}

#[test]
fn merged_weights_give_the_logits_of_the_updates() {
    for config in models() {
        for lora in choices(&config) {
            let weights = weights(&config, &lora, false);
            let merged = lora.merged(&config, &weights).unwrap();
            assert_eq!(merged.len(), parameter_specs(&config, HEAD).len());
            let (apart, together) = (logits(&config, &weights, Some(&lora)), logits(&config, &merged, None));
            assert!(furthest(&apart, &together) < 1e-12, "{apart:?} {together:?}");
            assert!(furthest(&apart, &logits(&config, &weights, None)) > 1e-2, "the updates do nothing");
        }
    }
}

#[test]
fn gradients_agree_with_central_differences() {
    const STEP: f64 = 1e-5;
    // A fixed weighting of the logits (B, labels), and dropout whose masks are the same each time.
    let factors = Tensor::new(&[[0.3, -1.2, 0.7], [1.1, 0.4, -0.9]], &Device::Cpu).unwrap();
    let masks = || Dropout::new(0.0, 5, 1, 0);
    for config in models() {
        let all = &choices(&config)[0];
        for lora in [all.clone(), LoraConfig { lora_dropout: 0.4, ..all.clone() }] {
            let weights = weights(&config, &lora, false);
            let loss = |weights: &Weights, recompute: bool| {
                let model = Classifier::with_lora(&config, weights, Pooling::Last, Some(&lora)).unwrap();
                let logits = model.with_recompute(recompute).logits(&rows(), &mut masks()).unwrap();
                ops::weighted_sum(&logits, &factors).unwrap()
            };
            let vars = weights.iter().map(|(name, tensor)| (name, Var::from_tensor(tensor).unwrap()));
            let vars: Vec<_> = vars.filter(|(name, _)| lora.trains(name)).collect();
            let mut tracked = weights.clone();
            tracked.extend(vars.iter().map(|(name, var)| (name.to_string(), var.as_tensor().clone())));
            let gradients = |recompute| {
                let mut sums = GradientSums::default();
                sums.backward(&loss(&tracked, recompute)).unwrap();
                let flat = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap();
                vars.iter().map(|(_, var)| flat(sums.remove(var).unwrap().unwrap())).collect::<Vec<_>>()
            };
            let found = gradients(false);
            assert_eq!(found, gradients(true), "recomputed activations change the gradients");
            for ((name, _), gradient) in vars.iter().zip(found) {
                let values: Vec<f64> = weights[*name].flatten_all().unwrap().to_vec1().unwrap();
                for i in (0..values.len()).step_by(values.len().div_ceil(6)) {
                    let moved = |by: f64| {
                        let mut values = values.clone();
                        values[i] += by;
                        let shape = weights[*name].shape();
                        let mut weights = weights.clone();
                        weights
                            .insert(name.to_string(), Tensor::from_vec(values, shape, &Device::Cpu).unwrap());
                        loss(&weights, false).value().to_scalar::<f64>().unwrap()
                    };
                    let slope = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
                    let error = (slope - gradient[i]).abs();
                    assert!(error < 1e-7, "{name}[{i}]: gradient {}, difference {slope}", gradient[i]);
                }
            }
        }
    }
}

#[test]
fn dropout_of_updates_is_seeded_by_step_and_name() {
    let config = &models()[0];
    let lora = LoraConfig { lora_dropout: 0.5, ..choices(config)[0].clone() };
    let weights = weights(config, &lora, false);
    let model = Classifier::with_lora(config, &weights, Pooling::Last, Some(&lora)).unwrap();
    let logits = |mut dropout: Dropout| {
        let logits = model.logits(&rows(), &mut dropout).unwrap();
        logits.value().flatten_all().unwrap().to_vec1::<f64>().unwrap()
    };
    let first = logits(Dropout::new(0.0, 1, 0, 0));
    assert_eq!(logits(Dropout::new(0.0, 1, 0, 0)), first);
    for other in [Dropout::new(0.0, 2, 0, 0), Dropout::new(0.0, 1, 1, 0), Dropout::new(0.0, 1, 0, 1)] {
        assert_ne!(logits(other), first);
    }
    let plain = LoraConfig { lora_dropout: 0.0, ..lora.clone() };
    assert_eq!(logits(Dropout::off()), self::logits(config, &weights, Some(&plain)));
}

#[test]
fn a_starts_uniform_within_the_inverse_root_of_its_inputs() {
    let config = ModelConfig::Gpt2(Gpt2Config { vocab_size: 11, n_layer: 1, ..Default::default() });
    let lora = LoraConfig { r: 64, ..LoraConfig::default() };
    let specs = lora.specs(&config).unwrap();
    assert_eq!(specs.iter().map(|spec| &spec.shape[..]).collect::<Vec<_>>(), [[64, 128], [384, 64]]);
    let params = Params::init(&specs, 1, &Device::Cpu).unwrap();
    let weights = params.snapshot(|_| true).unwrap();
    let a = &weights["transformer.h.0.attn.c_attn.lora_A.weight"];
    let a: Vec<f32> = a.flatten_all().unwrap().to_vec1().unwrap();
    let bound = 1.0 / 128f32.sqrt();
    assert!(a.iter().all(|x| x.abs() <= bound) && a.iter().any(|x| x.abs() > 0.99 * bound));
    // A mean of 8,192 such numbers strays by 0.57 / sqrt(8192) = 0.6 % of the bound, a mean square by 1 %.
    let mean = a.iter().sum::<f32>() / a.len() as f32 / bound;
    let square = a.iter().map(|x| x * x).sum::<f32>() / a.len() as f32 / (bound * bound);
    assert!(mean.abs() < 0.03 && (square - 1.0 / 3.0).abs() < 0.015, "{mean} {square}");
}

#[test]
fn targets_are_found_by_the_end_of_their_names() {
    let [llama, gpt2, _] = models();
    let count = |config: &ModelConfig, targets: &[&str]| {
        lora(targets).specs(config).map(|s| s.len() / 2).map_err(|cause| cause.to_string())
    };
    assert_eq!(count(&llama, &["q_proj"]), Ok(2));
    assert_eq!(count(&llama, &["layers.1.self_attn.q_proj"]), Ok(1));
    assert_eq!(count(&gpt2, &["c_proj"]), Ok(4), "of attention and of the MLP");
    assert_eq!(count(&gpt2, &["mlp.c_proj"]), Ok(2));
    for (config, target) in [(&llama, "proj"), (&llama, "c_attn"), (&llama, "embed_tokens"), (&gpt2, "")] {
        let why = count(config, &[target]).unwrap_err();
        assert!(why.contains(&format!("names '{target}'; this model has ")), "{why}");
    }
    let why = count(&llama, &["q_proj", "query"]).unwrap_err();
    let names = "down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj";
    assert_eq!(why, format!("lora.target_modules names 'query'; this model has {names}"));
}
