//! Linear maps and norms as the blocks use them, with their weights found by Hugging Face name.

use candle_core::Result;

use super::params::Weights;
use crate::ops::{self, Traced, WeightLayout};

/// Looks up one weight.
pub(super) fn weight(weights: &Weights, name: &str) -> Result<Traced> {
    match weights.get(name) {
        Some(tensor) => Ok(tensor.into()),
        None => candle_core::bail!("the model has no tensor called {name}"),
    }
}

/// One or several linear maps of the same input, run as one matrix product.
pub(super) struct Linear {
    /// Side by side in the output; several for q|k|v and gate|up of Llama.
    weights: Vec<Traced>,
    bias: Option<Traced>,
    layout: WeightLayout,
}

impl Linear {
    /// Llama maps (out, in) without bias; their outputs stand side by side in the order of `names`.
    pub(super) fn stacked(weights: &Weights, names: &[String]) -> Result<Self> {
        let weights =
            names.iter().map(|name| weight(weights, &format!("{name}.weight"))).collect::<Result<_>>()?;
        Ok(Self { weights, bias: None, layout: WeightLayout::OutIn })
    }

    /// GPT-2's Conv1D: weight (in, out) and bias.
    pub(super) fn conv1d(weights: &Weights, name: &str) -> Result<Self> {
        Ok(Self {
            weights: vec![weight(weights, &format!("{name}.weight"))?],
            bias: Some(weight(weights, &format!("{name}.bias"))?),
            layout: WeightLayout::InOut,
        })
    }

    /// x (.., in) -> (.., out).
    pub(super) fn forward(&self, x: &Traced) -> Result<Traced> {
        ops::linear(x, &self.weights, self.bias.as_ref(), self.layout)
    }
}

/// RMSNorm without, LayerNorm with bias.
pub(super) struct Norm {
    weight: Traced,
    bias: Option<Traced>,
    eps: f64,
}

impl Norm {
    /// The norm called `name`; it has a bias when the weights hold one.
    pub(super) fn new(weights: &Weights, name: &str, eps: f64) -> Result<Self> {
        let bias = weights.get(&format!("{name}.bias")).map(Traced::from);
        Ok(Self { weight: weight(weights, &format!("{name}.weight"))?, bias, eps })
    }

    /// x (.., C) -> (.., C).
    pub(super) fn forward(&self, x: &Traced) -> Result<Traced> {
        match &self.bias {
            Some(bias) => ops::layer_norm(x, &self.weight, bias, self.eps),
            None => ops::rms_norm(x, &self.weight, self.eps),
        }
    }
}
