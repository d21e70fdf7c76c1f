//! AdamW over named parameters, with its moments open to be saved.
//!
//! Source: Loshchilov and Hutter 2019, arXiv 1711.05101, in the form of torch.optim.AdamW.

use std::collections::BTreeMap;

use candle_core::{DType, Result, Tensor};

use super::{Gradients, OptimConfig};
use crate::model::{Params, Weights};
use crate::ops::{self, AdamwParam, AdamwStep, Clip};

/// Optimizer state: both moments of each parameter that has been updated.
pub struct AdamW {
    config: OptimConfig,
    /// (2, ..) per parameter: first moment, then second.
    moments: BTreeMap<String, Tensor>,
    /// On a GPU: not 0 once an update was left out because loss or gradient were not finite.
    halted: Option<Tensor>,
}

impl AdamW {
    /// Zero moments.
    pub fn new(config: &OptimConfig) -> Self {
        Self { config: config.clone(), moments: BTreeMap::new(), halted: None }
    }

    /// Zero moments again.
    pub fn restart(&mut self) {
        self.moments.clear();
    }

    /// One update of every parameter that has a gradient.
    ///
    /// Gradients are first scaled down to the global norm `max_norm` (0: never) where `norm` is above it. On a
    /// GPU, a `loss` or `norm` that is not finite keeps this and every later update from changing anything; on
    /// the CPU the caller has looked. Both are f64 scalars.
    /// Units: `step` counts updates from 1; `learning_rate` gives the rate of each parameter by name.
    pub fn update(
        &mut self,
        params: &Params,
        gradients: &Gradients,
        step: u64,
        (loss, norm, max_norm): (&Tensor, &Tensor, f64),
        learning_rate: impl Fn(&str) -> f64,
    ) -> Result<()> {
        let vars: BTreeMap<_, _> = params.iter().collect();
        for (name, _) in gradients.iter() {
            let Some(var) = vars.get(name) else {
                candle_core::bail!("gradient of unknown parameter {name}");
            };
            if !self.moments.contains_key(name) {
                let shape: Vec<usize> = [2].iter().chain(var.dims()).copied().collect();
                self.moments.insert(name.into(), Tensor::zeros(shape, var.dtype(), var.device())?);
            }
        }
        if self.halted.is_none() && params.device().is_cuda() {
            self.halted = Some(Tensor::zeros(1, DType::U32, &params.device())?);
        }
        let of = |(name, grad)| {
            let param = vars[name];
            let update = AdamwStep {
                learning_rate: learning_rate(name),
                beta1: self.config.beta1,
                beta2: self.config.beta2,
                eps: self.config.eps,
                weight_decay: self.weight_decay(name, param.rank()),
                step,
                grad_scale: 1.0,
            };
            AdamwParam { param, copy: params.computed_with(name), moments: &self.moments[name], grad, update }
        };
        let all: Vec<AdamwParam> = gradients.iter().map(of).collect();
        ops::adamw_all(&all, &Clip { loss, norm, max_norm, halted: self.halted.as_ref() })
    }

    /// Norms and biases (one dimension) never decay, embeddings only when asked.
    fn weight_decay(&self, name: &str, rank: usize) -> f64 {
        let embedding = ["embed_tokens.", "wte.", "wpe."].iter().any(|part| name.contains(part));
        if rank < 2 || (embedding && !self.config.decay_embeddings) { 0.0 } else { self.config.weight_decay }
    }

    /// The moments by parameter name, each (2, ..), for the checkpoint.
    pub fn moments(&self) -> &BTreeMap<String, Tensor> {
        &self.moments
    }

    /// Takes the moments of a checkpoint, copied so that updates do not write into the caller's tensors.
    pub fn restore(&mut self, moments: &Weights) -> Result<()> {
        self.moments = moments.iter().map(|(k, v)| Ok((k.clone(), v.copy()?))).collect::<Result<_>>()?;
        Ok(())
    }
}
