//! Linear maps and norms as the blocks use them, with their weights found by Hugging Face name.

use candle_core::Result;

use super::dropout::Dropout;
use super::lora::{LoraConfig, LowRank};
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
    /// Each with the first column of the output that it changes.
    updates: Vec<(usize, LowRank)>,
}

impl Linear {
    /// Llama maps (out, in) without bias; their outputs stand side by side in the order of `names`.
    pub(super) fn stacked(weights: &Weights, lora: Option<&LoraConfig>, names: &[String]) -> Result<Self> {
        Self::new(weights, lora, names, None, WeightLayout::OutIn)
    }

    /// GPT-2's Conv1D: weight (in, out) and bias.
    pub(super) fn conv1d(weights: &Weights, lora: Option<&LoraConfig>, name: String) -> Result<Self> {
        let bias = weight(weights, &format!("{name}.bias"))?;
        Self::new(weights, lora, &[name], Some(bias), WeightLayout::InOut)
    }

    fn new(
        all: &Weights,
        lora: Option<&LoraConfig>,
        names: &[String],
        bias: Option<Traced>,
        layout: WeightLayout,
    ) -> Result<Self> {
        let (mut weights, mut updates, mut width) = (Vec::new(), Vec::new(), 0);
        for name in names {
            let weight = weight(all, &format!("{name}.weight"))?;
            if let Some(update) = lora.and_then(|lora| LowRank::of(name, all, lora)) {
                updates.push((width, update));
            }
            width += match layout {
                WeightLayout::OutIn => weight.dims()[0],
                WeightLayout::InOut => weight.dims()[1],
            };
            weights.push(weight);
        }
        Ok(Self { weights, bias, layout, updates })
    }

    /// x (N, in) -> (N, out); dropout acts on what the updates read.
    pub(super) fn forward(&self, x: &Traced, dropout: &Dropout) -> Result<Traced> {
        let mut y = ops::linear(x, &self.weights, self.bias.as_ref(), self.layout)?;
        for (start, update) in &self.updates {
            y = ops::add_columns(&y, &update.forward(x, dropout)?, *start, update.scale())?;
        }
        Ok(y)
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
