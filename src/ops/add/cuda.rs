//! Launches of the kernel of sums and products.

#![cfg(feature = "cuda")]

use candle_core::{Result, Tensor};

use crate::ops::base::cuda::combine;
use crate::ops::base::tape::{Gradient, Traced, record};

/// The op on contiguous inputs, with its backward.
pub fn add(residual: &Traced, branch: &Traced, factors: Option<Tensor>) -> Result<Traced> {
    let y = combine(Some(residual.value()), branch.value(), factors.as_ref())?;
    let (residual, branch) = (residual.place()?, branch.place()?);
    Ok(record(y, residual.is_tracked() || branch.is_tracked(), move |d_y, gradients| {
        let [d_residual, d_branch] = match &factors {
            Some(factors) => {
                let d_branch = combine(None, d_y.values(), Some(factors))?;
                [d_y, Gradient::own(d_branch)]
            }
            None => d_y.share(),
        };
        gradients.add(&branch, d_branch)?;
        gradients.add(&residual, d_residual)
    }))
}
