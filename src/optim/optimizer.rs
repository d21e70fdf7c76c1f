//! Updates of groups of named parameters by AdamW or Muon, with their moments open to be saved.

use std::collections::BTreeMap;

use candle_core::{DType, Result, Tensor, Var};

use super::{Gradients, OptimConfig, OptimizerKind, ParamGroup};
use crate::model::{Params, Weights};
use crate::ops::{self, AdamwParam, AdamwStep, Clip, MuonParam, MuonStep};

/// What updates remember: both moments of each parameter that AdamW has updated, the momentum of each that Muon has.
pub struct Optimizer {
    config: OptimConfig,
    /// By parameter: of AdamW (2, ..), first moment, then second; of Muon (..).
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

impl Optimizer {
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
    /// Errors: a gradient of a parameter that is unknown or in no group, or moments of another kind of update.
    pub fn update(&mut self, params: &Params, gradients: &Gradients, update: &Update<'_>) -> Result<()> {
        let vars: BTreeMap<_, _> = params.iter().collect();
        let mut grouped = Vec::new();
        for (name, grad) in gradients.iter() {
            let Some(var) = vars.get(name) else {
                candle_core::bail!("gradient of unknown parameter {name}");
            };
            let Some(group) = update.groups.iter().find(|group| group.names.contains(name)) else {
                candle_core::bail!("parameter {name} is in no group");
            };
            if !self.moments.contains_key(name) {
                self.moments.insert(name.into(), zero_moments(group.kind, var)?);
            }
            grouped.push((name, *var, grad, group));
        }
        if self.halted.is_none() && params.device().is_cuda() {
            self.halted = Some(Tensor::zeros(1, DType::U32, &params.device())?);
        }
        let (mut by_adamw, mut by_muon) = (Vec::new(), Vec::new());
        for (name, param, grad, group) in grouped {
            let (copy, moments) = (params.computed_with(name), &self.moments[name]);
            match group.kind {
                OptimizerKind::AdamW => {
                    let update = self.adamw_step(group, update.learning_rate);
                    by_adamw.push(AdamwParam { param, copy, moments, grad, update });
                }
                OptimizerKind::Muon => {
                    let update = self.muon_step(group, update.learning_rate);
                    by_muon.push(MuonParam { param, copy, momentum: moments, grad, update });
                }
            }
        }
        let Update { loss, norm, max_norm, .. } = *update;
        let clip = Clip { loss, norm, max_norm, halted: self.halted.as_ref() };
        ops::adamw_all(&by_adamw, &clip)?;
        ops::muon_all(&by_muon, &clip)?;
        self.updates += 1;
        Ok(())
    }

    fn adamw_step(&self, group: &ParamGroup, learning_rate: f64) -> AdamwStep {
        AdamwStep {
            learning_rate: learning_rate * group.learning_rate_scale,
            beta1: self.config.beta1,
            beta2: self.config.beta2,
            eps: self.config.eps,
            weight_decay: group.weight_decay,
            step: self.updates + 1,
            grad_scale: 1.0,
        }
    }

    fn muon_step(&self, group: &ParamGroup, learning_rate: f64) -> MuonStep {
        MuonStep {
            learning_rate: learning_rate * group.learning_rate_scale,
            momentum: self.config.muon_momentum,
            weight_decay: group.weight_decay,
            grad_scale: 1.0,
        }
    }

    /// The moments by parameter name, (2, ..) of AdamW and (..) of Muon, for the checkpoint.
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

fn zero_moments(kind: OptimizerKind, param: &Var) -> Result<Tensor> {
    let count: &[usize] = match kind {
        OptimizerKind::AdamW => &[2],
        OptimizerKind::Muon => &[],
    };
    Tensor::zeros([count, param.dims()].concat(), param.dtype(), param.device())
}
