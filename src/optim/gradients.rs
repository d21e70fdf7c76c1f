//! Gradients of one optimizer step, summed over micro-batches in sorted parameter order.

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::error::{Error, ErrorKind, Result};
use crate::model::Params;
use crate::ops::{self, GradientSums};

/// One gradient per trainable parameter.
pub struct Gradients {
    sums: BTreeMap<String, Tensor>,
}

impl Gradients {
    /// Takes the sums of the parameters that `trainable` chooses.
    ///
    /// Errors: a trainable parameter that no loss depended on. A missing gradient is a bug in the model and
    /// not a zero.
    pub fn of(mut sums: GradientSums, params: &Params, trainable: impl Fn(&str) -> bool) -> Result<Self> {
        let mut gradients = BTreeMap::new();
        for (name, var) in params.iter().filter(|(name, _)| trainable(name)) {
            let Some(gradient) = sums.remove(params.computed_with(name).unwrap_or(var))? else {
                return Err(Error::new(ErrorKind::Failed, format!("no gradient reaches parameter {name}")));
            };
            gradients.insert(name.to_string(), gradient);
        }
        Ok(Self { sums: gradients })
    }

    /// Global L2 norm over all parameters, an f64 scalar on the device; not finite as soon as one gradient is
    /// not.
    pub fn norm(&self) -> Result<Tensor> {
        Ok(ops::global_norm(&self.sums.values().collect::<Vec<_>>())?)
    }

    /// Names and summed gradients in sorted order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.sums.iter().map(|(name, gradient)| (name.as_str(), gradient))
    }
}
