//! LoRA: trained low-rank updates beside frozen linear maps, under the names that PEFT gives them.
//!
//! y = W x + b + (lora_alpha / r) B A dropout(x), with A (r, in) and B (out, r) per map. B starts at zero, so the
//! model starts as the one it adapts. Source: Hu et al. 2021, arXiv 2106.09685; names, start and the place of
//! dropout are those of PEFT.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::ModelConfig;
use super::dropout::Dropout;
use super::heads::SCORE_WEIGHT;
use super::params::{Head, Init, ParamSpec, Weights, parameter_specs};
use crate::ops::{self, Traced, WeightLayout};

const A: &str = ".lora_A.weight";
const B: &str = ".lora_B.weight";

/// `[lora]`: keys of PEFT's `LoraConfig`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank of the updates.
    #[schemars(range(min = 1, max = 65536))]
    pub r: usize,
    /// Updates are multiplied by lora_alpha / r.
    #[schemars(range(min = 1, max = 65536))]
    pub lora_alpha: usize,
    /// Probability of dropping what an update reads.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub lora_dropout: f64,
    /// Linear maps that get an update, by the last parts of their names; empty takes PEFT's choice, `q_proj` and
    /// `v_proj` of Llama, `c_attn` of GPT-2.
    pub target_modules: Vec<String>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self { r: 8, lora_alpha: 8, lora_dropout: 0.0, target_modules: Vec::new() }
    }
}

impl LoraConfig {
    /// Errors: a value outside its range, by key, as one sentence.
    pub fn check(&self) -> Result<(), String> {
        for (key, value) in [("r", self.r), ("lora_alpha", self.lora_alpha)] {
            if !(1..=1 << 16).contains(&value) {
                return Err(format!("lora.{key} is {value}; it must lie in 1..=65536"));
            }
        }
        if !(0.0..1.0).contains(&self.lora_dropout) {
            return Err(format!(
                "lora.lora_dropout is {}; it must be 0 or more and below 1",
                self.lora_dropout
            ));
        }
        Ok(())
    }

    /// The last parts of the names of the linear maps that get an update.
    pub fn targets(&self, config: &ModelConfig) -> Vec<String> {
        let own = match config {
            ModelConfig::Llama(_) => &["q_proj", "v_proj"][..],
            ModelConfig::Gpt2(_) => &["c_attn"],
        };
        match self.target_modules.is_empty() {
            true => own.iter().map(|name| name.to_string()).collect(),
            false => self.target_modules.clone(),
        }
    }

    /// The parameters of all updates. A starts as PEFT's, Kaiming uniform with a = sqrt(5), which is uniform
    /// within 1 / sqrt(in); B at zero.
    ///
    /// Errors: a target that is no linear map of the blocks, with those there are, as one sentence.
    pub fn specs(&self, config: &ModelConfig) -> Result<Vec<ParamSpec>, String> {
        let modules = linear_maps(config);
        let ends_with = |module: &str, target: &str| {
            module.strip_suffix(target).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let targets = self.targets(config);
        for target in &targets {
            if !modules.iter().any(|(module, _)| ends_with(module, target)) {
                let names: BTreeSet<&str> =
                    modules.iter().filter_map(|(module, _)| module.rsplit('.').next()).collect();
                let names = names.into_iter().collect::<Vec<_>>().join(", ");
                return Err(format!("lora.target_modules names '{target}'; this model has {names}"));
            }
        }
        let mut specs = Vec::new();
        for (module, [outputs, inputs]) in modules {
            if targets.iter().any(|target| ends_with(&module, target)) {
                let init = Init::Uniform(1.0 / (inputs as f64).sqrt());
                specs.push(ParamSpec { name: format!("{module}{A}"), shape: vec![self.r, inputs], init });
                let (name, shape) = (format!("{module}{B}"), vec![outputs, self.r]);
                specs.push(ParamSpec { name, shape, init: Init::Zeros });
            }
        }
        Ok(specs)
    }

    /// Whether the parameter called `name` is trained: the updates and the classification head are.
    pub fn trains(&self, name: &str) -> bool {
        name == SCORE_WEIGHT || is_update(name)
    }

    /// The weights of the plain model that computes the same: W + (lora_alpha / r) B A for each updated map.
    pub fn merged(&self, config: &ModelConfig, weights: &Weights) -> candle_core::Result<Weights> {
        let plain = weights.iter().filter(|(name, _)| !is_update(name));
        let mut merged: Weights = plain.map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
        for (name, a) in weights {
            let Some(module) = name.strip_suffix(A) else { continue };
            let (Some(b), Some(weight)) =
                (weights.get(&format!("{module}{B}")), merged.get_mut(&format!("{module}.weight")))
            else {
                candle_core::bail!("{name} updates nothing");
            };
            let update = match layout(config) {
                WeightLayout::OutIn => ops::linear(&b.into(), &[a.into()], None, WeightLayout::InOut)?,
                WeightLayout::InOut => ops::linear(&a.t()?.into(), &[b.into()], None, WeightLayout::OutIn)?,
            };
            *weight = (&*weight + (update.value() * self.scale())?)?;
        }
        Ok(merged)
    }

    fn scale(&self) -> f64 {
        self.lora_alpha as f64 / self.r as f64
    }
}

/// Whether a parameter of this name belongs to an update.
pub fn is_update(name: &str) -> bool {
    name.ends_with(A) || name.ends_with(B)
}

/// How the family stores the weights of its linear maps.
fn layout(config: &ModelConfig) -> WeightLayout {
    match config {
        ModelConfig::Llama(_) => WeightLayout::OutIn,
        ModelConfig::Gpt2(_) => WeightLayout::InOut,
    }
}

/// Names of all linear maps inside the blocks, with outputs and inputs.
fn linear_maps(config: &ModelConfig) -> Vec<(String, [usize; 2])> {
    let specs = parameter_specs(config, Head::LanguageModel).into_iter();
    let maps = specs.filter_map(|spec| {
        let module = spec.name.strip_suffix(".weight")?;
        let in_block = module.split('.').any(|part| part.parse::<usize>().is_ok());
        match (in_block, &spec.shape[..], layout(config)) {
            (true, &[rows, columns], WeightLayout::OutIn) => Some((module.into(), [rows, columns])),
            (true, &[rows, columns], WeightLayout::InOut) => Some((module.into(), [columns, rows])),
            _ => None,
        }
    });
    maps.collect()
}

/// The update of one linear map.
pub(super) struct LowRank {
    module: String,
    /// (r, in).
    a: Traced,
    /// (out, r).
    b: Traced,
    scale: f64,
    dropout: f64,
}

impl LowRank {
    /// The update of the map called `module`, where the weights hold one.
    pub(super) fn of(module: &str, weights: &Weights, lora: &LoraConfig) -> Option<Self> {
        let (a, b) = (weights.get(&format!("{module}{A}"))?, weights.get(&format!("{module}{B}"))?);
        let (scale, dropout) = (lora.scale(), lora.lora_dropout);
        Some(Self { module: module.into(), a: a.into(), b: b.into(), scale, dropout })
    }

    /// lora_alpha / r.
    pub(super) fn scale(&self) -> f64 {
        self.scale
    }

    /// B A dropout(x), not yet scaled: x (N, in) -> (N, out).
    pub(super) fn forward(&self, x: &Traced, dropout: &Dropout) -> candle_core::Result<Traced> {
        let x = dropout.apply_to(&self.module, self.dropout, x)?;
        let low = ops::linear(&x, std::slice::from_ref(&self.a), None, WeightLayout::OutIn)?; // (N, r)
        ops::linear(&low, std::slice::from_ref(&self.b), None, WeightLayout::OutIn)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor, Var};

    use super::*;
    use crate::model::{Classifier, Gpt2Config, LlamaConfig, Pooling, TokenRows};
    use crate::ops::GradientSums;

    const HEAD: Head = Head::Classifier { num_labels: 3, pooling: Pooling::Last };

    /// Both families, two blocks each; Llama with grouped queries.
    fn models() -> [ModelConfig; 2] {
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
        [ModelConfig::Llama(llama), ModelConfig::Gpt2(gpt2)]
    }

    fn lora(targets: &[&str]) -> LoraConfig {
        let target_modules = targets.iter().map(|name| name.to_string()).collect();
        LoraConfig { r: 2, lora_alpha: 5, lora_dropout: 0.0, target_modules }
    }

    /// Every linear map, and the first and last of those whose outputs stand side by side.
    fn choices(config: &ModelConfig) -> Vec<LoraConfig> {
        match config {
            ModelConfig::Llama(_) => vec![
                lora(&["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
                lora(&[]),
                lora(&["k_proj", "up_proj"]),
            ],
            ModelConfig::Gpt2(_) => vec![lora(&["c_attn", "c_proj", "c_fc"]), lora(&[])],
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
        let params = super::super::Params::init(&specs, 3, &Device::Cpu).unwrap();
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
                let (apart, together) =
                    (logits(&config, &weights, Some(&lora)), logits(&config, &merged, None));
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
                    vars.iter().map(|(_, var)| flat(sums.remove(var).unwrap())).collect::<Vec<_>>()
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
                            weights.insert(
                                name.to_string(),
                                Tensor::from_vec(values, shape, &Device::Cpu).unwrap(),
                            );
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
        let params = super::super::Params::init(&specs, 1, &Device::Cpu).unwrap();
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
        let [llama, gpt2] = models();
        let count = |config: &ModelConfig, targets: &[&str]| lora(targets).specs(config).map(|s| s.len() / 2);
        assert_eq!(count(&llama, &["q_proj"]), Ok(2));
        assert_eq!(count(&llama, &["layers.1.self_attn.q_proj"]), Ok(1));
        assert_eq!(count(&gpt2, &["c_proj"]), Ok(4), "of attention and of the MLP");
        assert_eq!(count(&gpt2, &["mlp.c_proj"]), Ok(2));
        for (config, target) in [(&llama, "proj"), (&llama, "c_attn"), (&llama, "embed_tokens"), (&gpt2, "")]
        {
            let why = count(config, &[target]).unwrap_err();
            assert!(why.contains(&format!("names '{target}'; this model has ")), "{why}");
        }
        let why = count(&llama, &["q_proj", "query"]).unwrap_err();
        let names = "down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj";
        assert_eq!(why, format!("lora.target_modules names 'query'; this model has {names}"));
    }
}
