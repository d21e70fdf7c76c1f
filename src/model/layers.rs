//! Linear maps and norms over plain weights; where these are variables, what is computed leads back to them.

use candle_core::{Result, Tensor};

use super::dropout::Dropout;
use super::lora::{LoraConfig, LowRank};
use super::params::Weights;
use super::spec::{LinearSpec, NormSpec, ParamSpec};
use crate::ops::{self, Traced, WeightLayout};

/// The weights that a model is built over, and how.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub weights: &'a Weights,
    pub lora: Option<&'a LoraConfig>,
    pub layout: WeightLayout,
}

impl Source<'_> {
    /// Looks up one weight.
    ///
    /// Errors: there is none of this name.
    pub(super) fn get(&self, spec: &ParamSpec) -> Result<Tensor> {
        weight(self.weights, &spec.name)
    }
}

/// Looks up one weight.
///
/// Errors: there is none of this name.
pub(super) fn weight(weights: &Weights, name: &str) -> Result<Tensor> {
    match weights.get(name) {
        Some(tensor) => Ok(tensor.clone()),
        None => candle_core::bail!("the model has no tensor called {name}"),
    }
}

/// One or several linear maps of the same input, run as one matrix product.
pub(super) struct Linear {
    /// Side by side in the output; several for q|k|v and gate|up of Llama.
    weights: Vec<Tensor>,
    biases: Vec<Tensor>,
    layout: WeightLayout,
    /// Each with the first column of the output that it changes.
    updates: Vec<(usize, LowRank)>,
}

impl Linear {
    /// Errors: a weight is missing.
    pub(super) fn new(spec: &LinearSpec, from: Source) -> Result<Self> {
        let (mut weights, mut updates, mut width) = (Vec::new(), Vec::new(), 0);
        for map in &spec.weights {
            let weight = from.get(map)?;
            if let Some(update) = from.lora.and_then(|lora| LowRank::of(map, from.weights, lora)) {
                updates.push((width, update));
            }
            width += match from.layout {
                WeightLayout::OutIn => weight.dims()[0],
                WeightLayout::InOut => weight.dims()[1],
            };
            weights.push(weight);
        }
        let biases = spec.biases.iter().map(|bias| from.get(bias)).collect::<Result<_>>()?;
        Ok(Self { weights, biases, layout: from.layout, updates })
    }

    /// x (N, in) -> (N, out); dropout acts on what the updates read.
    pub(super) fn forward(&self, x: &Traced, dropout: &Dropout) -> Result<Traced> {
        let weights: Vec<Traced> = self.weights.iter().map(Traced::from).collect();
        let biases: Vec<Traced> = self.biases.iter().map(Traced::from).collect();
        let bias = match &biases[..] {
            [] => None,
            [bias] => Some(bias.clone()),
            biases => Some(ops::concat(biases)?),
        };
        let mut y = ops::linear(x, &weights, bias.as_ref(), self.layout)?;
        for (start, update) in &self.updates {
            y = ops::add_columns(&y, &update.forward(x, dropout)?, *start, update.scale())?;
        }
        Ok(y)
    }
}

/// RMSNorm without, LayerNorm with bias.
pub(super) struct Norm {
    weight: Tensor,
    bias: Option<Tensor>,
    eps: f64,
}

impl Norm {
    /// Errors: a weight is missing.
    pub(super) fn new(spec: &NormSpec, from: Source) -> Result<Self> {
        let bias = spec.bias.as_ref().map(|bias| from.get(bias)).transpose()?;
        Ok(Self { weight: from.get(&spec.weight)?, bias, eps: spec.eps })
    }

    /// x (.., C) -> (.., C).
    pub(super) fn forward(&self, x: &Traced) -> Result<Traced> {
        let weight = Traced::from(&self.weight);
        match &self.bias {
            Some(bias) => ops::layer_norm(x, &weight, &bias.into(), self.eps),
            None => ops::rms_norm(x, &weight, self.eps),
        }
    }
}
