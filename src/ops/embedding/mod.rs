//! Rows of a table by id.

mod cpu;
mod cuda;
pub(super) mod reference;
#[cfg(test)]
mod tests;

use candle_core::{DType, Result, Tensor, bail};

use super::base::elements::{Elements, expect_same_device};
use super::base::gpu::on_gpu;
use super::base::real::by_dtype;
use super::base::tape::{Traced, by_reference, record};

const NAME: &str = "embedding";

/// Looks up the row of each id.
///
/// Shapes: weight (V, C), ids of any shape -> (ids.., C). Dtypes: ids u32, weight f32;
/// f64 on the CPU, bf16 on a GPU (gradient in f32).
/// Gradient: weight: each row's gradients are added in the order of the ids.
/// Errors: shape, dtype or device mismatch; an id that is V or more.
pub fn embedding(weight: &Traced, ids: &Tensor) -> Result<Traced> {
    let &[vocab_size, columns] = weight.dims() else {
        bail!("{NAME}: expected weight of shape (V, C), got {:?}", weight.dims());
    };
    expect_same_device(NAME, "ids", ids, weight.value())?;
    if ids.dtype() != DType::U32 {
        bail!("{NAME}: expected ids of dtype u32, got {}", ids.dtype().as_str());
    }
    let (weight, ids) = (weight.contiguous()?, ids.contiguous()?);
    let shape = [ids.dims(), &[columns]].concat();
    on_gpu!(weight.value() => cuda::embedding(&weight, ids, &shape));
    if !weight.device().is_cpu() {
        return by_reference(&[&weight], move |t| reference::embedding(&t[0], &ids));
    }
    by_dtype!(NAME, weight.dtype(), T => {
        let values = Elements::<u32>::of(NAME, &ids)?;
        if let Some(id) = values.iter().find(|&&id| id as usize >= vocab_size) {
            bail!("{NAME}: expected ids below the vocabulary size {vocab_size}, got {id}");
        }
        let y = cpu::forward(&Elements::<T>::of(NAME, weight.value())?, &values, columns);
        drop(values);
        let y = Tensor::from_vec(y, shape, weight.device())?;
        Ok(record(y, weight.is_tracked(), move |d_y, gradients| {
            let (d_y, ids) = (Elements::<T>::of(NAME, d_y.values())?, Elements::of(NAME, &ids)?);
            gradients.add_with(&weight, |d_weight: &mut [T]| cpu::backward(&d_y, &ids, columns, d_weight))
        }))
    })
}
