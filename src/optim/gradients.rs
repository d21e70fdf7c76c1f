//! Gradients of one optimizer step, summed over micro-batches in sorted parameter order.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor};

use crate::error::{Error, Exit, Result};
use crate::model::Params;

/// One gradient per trainable parameter.
#[derive(Default)]
pub struct Gradients {
    sums: BTreeMap<String, Tensor>,
}

impl Gradients {
    /// Adds what one backward pass produced for the parameters that `trainable` chooses.
    ///
    /// Gradients are detached: candle's own keep the whole graph of the micro-batch alive.
    /// Errors: a trainable parameter without gradient. candle drops gradients silently where an operation
    /// has no backward, so a missing one is a bug in the model and not a zero.
    pub fn add(
        &mut self,
        mut store: GradStore,
        params: &Params,
        trainable: impl Fn(&str) -> bool,
    ) -> Result<()> {
        for (name, var) in params.iter().filter(|(name, _)| trainable(name)) {
            let Some(gradient) = store.remove(var) else {
                return Err(Error::new(Exit::Failed, format!("no gradient reaches parameter {name}")));
            };
            let sum = match self.sums.remove(name) {
                Some(sum) => (sum + gradient.detach())?,
                None => gradient,
            };
            self.sums.insert(name.to_string(), sum.detach());
        }
        Ok(())
    }

    /// Global L2 norm over all parameters; not finite as soon as one gradient is not.
    pub fn norm(&self) -> Result<f64> {
        let mut squares = 0.0;
        for gradient in self.sums.values() {
            squares += f64::from(gradient.sqr()?.sum_all()?.to_dtype(DType::F32)?.to_scalar::<f32>()?);
        }
        Ok(squares.sqrt())
    }

    /// Names and summed gradients in sorted order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.sums.iter().map(|(name, gradient)| (name.as_str(), gradient))
    }
}
