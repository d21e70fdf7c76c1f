//! AdamW over groups of named parameters, with its moments open to be saved.
//!
//! Source: Loshchilov and Hutter 2019, arXiv 1711.05101, in the form of torch.optim.AdamW.

use std::collections::BTreeMap;

use candle_core::{DType, Result, Tensor};

use super::{Gradients, OptimConfig, ParamGroup};
use crate::model::{Params, Weights};
use crate::ops::{self, AdamwParam, AdamwStep, Clip};

/// Optimizer state: both moments of each parameter that has been updated.
pub struct AdamW {
    config: OptimConfig,
    /// (2, ..) per parameter: first moment, then second.
    moments: BTreeMap<String, Tensor>,
    /// Since the moments were zero.
    updates: u64,
    /// On a GPU: not 0 once an update was left out because loss or gradient were not finite.
    halted: Option<Tensor>,
}

/// What an update goes by beside the gradients.
pub struct Update<'a> {
    /// Who is updated, and how.
    pub groups: &'a [ParamGroup],
    /// Learning rate before the scale of each group.
    pub learning_rate: f64,
    /// Loss of the step, an f64 scalar.
    pub loss: &'a Tensor,
    /// Global norm of the gradients, an f64 scalar.
    pub norm: &'a Tensor,
    /// Gradients are scaled down to this norm where theirs is above it; 0 turns clipping off.
    pub max_norm: f64,
}

impl AdamW {
    /// Zero moments.
    pub fn new(config: &OptimConfig) -> Self {
        Self { config: config.clone(), moments: BTreeMap::new(), updates: 0, halted: None }
    }

    /// Zero moments again.
    pub fn restart(&mut self) {
        self.moments.clear();
        self.updates = 0;
    }

    /// Updates since the moments were zero.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// One update of every parameter that has a gradient.
    ///
    /// On a GPU, a loss or norm that is not finite keeps this and every later update from changing anything; on the
    /// CPU the caller has looked.
    /// Errors: a gradient of a parameter that is unknown or in no group.
    pub fn update(&mut self, params: &Params, gradients: &Gradients, update: &Update<'_>) -> Result<()> {
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
            let Some(group) = update.groups.iter().find(|group| group.names.contains(name)) else {
                candle_core::bail!("parameter {name} is in no group");
            };
            let step = AdamwStep {
                learning_rate: update.learning_rate * group.learning_rate_scale,
                beta1: self.config.beta1,
                beta2: self.config.beta2,
                eps: self.config.eps,
                weight_decay: group.weight_decay,
                step: self.updates + 1,
                grad_scale: 1.0,
            };
            let (param, copy) = (vars[name], params.computed_with(name));
            Ok(AdamwParam { param, copy, moments: &self.moments[name], grad, update: step })
        };
        let all = gradients.iter().map(of).collect::<Result<Vec<AdamwParam>>>()?;
        let Update { loss, norm, max_norm, .. } = *update;
        ops::adamw_all(&all, &Clip { loss, norm, max_norm, halted: self.halted.as_ref() })?;
        self.updates += 1;
        Ok(())
    }

    /// The moments by parameter name, each (2, ..), for the checkpoint.
    pub fn moments(&self) -> &BTreeMap<String, Tensor> {
        &self.moments
    }

    /// Takes the moments that this many updates left, copied so that updates do not write into the caller's tensors.
    pub fn restore(&mut self, moments: &Weights, updates: u64) -> Result<()> {
        self.moments = moments.iter().map(|(k, v)| Ok((k.clone(), v.copy()?))).collect::<Result<_>>()?;
        self.updates = updates;
        Ok(())
    }
}
