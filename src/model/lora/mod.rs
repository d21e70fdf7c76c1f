//! LoRA: trained low-rank updates beside frozen linear maps, under the names that PEFT gives them.
//!
//! y = W x + b + (lora_alpha / r) B A dropout(x), with A (r, in) and B (out, r) per map. B starts at zero, so the
//! model starts as the one it adapts. Source: Hu et al. 2021, arXiv 2106.09685; names, start and the place of
//! dropout are those of PEFT.

use std::collections::BTreeSet;

use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::ModelConfig;
use super::dropout::Dropout;
use super::head::is_head;
use super::params::Weights;
use super::spec::{Init, ParamSpec};
use crate::error::{Error, Result};
use crate::ops::{self, Traced, WeightLayout};
use crate::ranges;

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
    /// `v_proj` of Llama, `c_attn` of GPT-2, `query` and `value` of BERT.
    pub target_modules: Vec<String>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self { r: 8, lora_alpha: 8, lora_dropout: 0.0, target_modules: Vec::new() }
    }
}

impl LoraConfig {
    /// Errors: a value outside its range, by key (2).
    pub fn check(&self) -> Result<()> {
        ranges::check("lora", self)
    }

    /// The last parts of the names of the linear maps that get an update.
    pub fn targets(&self, config: &ModelConfig) -> Vec<String> {
        match self.target_modules.is_empty() {
            true => config.spec().lora_targets.iter().map(|name| name.to_string()).collect(),
            false => self.target_modules.clone(),
        }
    }

    /// The parameters of all updates. A starts as PEFT's, Kaiming uniform with a = sqrt(5), which is uniform
    /// within 1 / sqrt(in); B at zero.
    ///
    /// Errors: a target that is no linear map of the blocks, with those there are (2).
    pub fn specs(&self, config: &ModelConfig) -> Result<Vec<ParamSpec>> {
        let model = config.spec();
        let ends_with = |module: &str, target: &str| {
            module.strip_suffix(target).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let targets = self.targets(config);
        for target in &targets {
            if !model.linear_maps().any(|map| ends_with(map.module(), target)) {
                let names: BTreeSet<&str> =
                    model.linear_maps().filter_map(|map| map.module().rsplit('.').next()).collect();
                let names = names.into_iter().collect::<Vec<_>>().join(", ");
                let why = format!("lora.target_modules names '{target}'; this model has {names}");
                return Err(Error::usage(why));
            }
        }
        let mut specs = Vec::new();
        for map in model.linear_maps() {
            let module = map.module();
            if targets.iter().any(|target| ends_with(module, target)) {
                let (outputs, inputs) = model.outputs_and_inputs(map);
                let init = Init::Uniform(1.0 / (inputs as f64).sqrt());
                specs.push(ParamSpec::new(map.place, format!("{module}{A}"), &[self.r, inputs], init));
                specs.push(ParamSpec::new(
                    map.place,
                    format!("{module}{B}"),
                    &[outputs, self.r],
                    Init::Zeros,
                ));
            }
        }
        Ok(specs)
    }

    /// Whether the parameter called `name` is trained: the updates and the classification head are.
    pub fn trains(&self, name: &str) -> bool {
        is_head(name) || is_update(name)
    }

    /// The weights of the plain model that computes the same: W + (lora_alpha / r) B A for each updated map.
    pub fn merged(&self, config: &ModelConfig, weights: &Weights) -> candle_core::Result<Weights> {
        let layout = config.spec().layout;
        let plain = weights.iter().filter(|(name, _)| !is_update(name));
        let mut merged: Weights = plain.map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
        for (name, a) in weights {
            let Some(module) = name.strip_suffix(A) else { continue };
            let (Some(b), Some(weight)) =
                (weights.get(&format!("{module}{B}")), merged.get_mut(&format!("{module}.weight")))
            else {
                candle_core::bail!("{name} updates nothing");
            };
            let update = match layout {
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

/// The update of one linear map.
pub(super) struct LowRank {
    module: String,
    /// (r, in).
    a: Tensor,
    /// (out, r).
    b: Tensor,
    scale: f64,
    dropout: f64,
}

impl LowRank {
    /// The update of `map`, where the weights hold one.
    pub(super) fn of(map: &ParamSpec, weights: &Weights, lora: &LoraConfig) -> Option<Self> {
        let module = map.module();
        let (a, b) = (weights.get(&format!("{module}{A}"))?, weights.get(&format!("{module}{B}"))?);
        let (scale, dropout) = (lora.scale(), lora.lora_dropout);
        Some(Self { module: module.into(), a: a.clone(), b: b.clone(), scale, dropout })
    }

    /// lora_alpha / r.
    pub(super) fn scale(&self) -> f64 {
        self.scale
    }

    /// B A dropout(x), not yet scaled: x (N, in) -> (N, out).
    pub(super) fn forward(&self, x: &Traced, dropout: &Dropout) -> candle_core::Result<Traced> {
        let x = dropout.apply_to(&self.module, self.dropout, x)?;
        let low = ops::linear(&x, &[(&self.a).into()], None, WeightLayout::OutIn)?; // (N, r)
        ops::linear(&low, &[(&self.b).into()], None, WeightLayout::OutIn)
    }
}

#[cfg(test)]
mod tests;
