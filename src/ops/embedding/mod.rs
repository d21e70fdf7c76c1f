//! Rows of a table by id.

mod cpu;
mod reference;
#[cfg(test)]
mod tests;

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};

use super::elements::{Elements, detached, elements, expect_same_device};
use super::real::by_dtype;

const NAME: &str = "embedding";

/// Looks up the row of each id.
///
/// Shapes: weight (V, C), ids of any shape -> (ids.., C). Dtypes: weight f32, f64 on the CPU; ids u32.
/// Gradient: weight: each row's gradients are added in the order of the ids.
/// Errors: shape, dtype or device mismatch; an id that is V or more.
pub fn embedding(weight: &Tensor, ids: &Tensor) -> Result<Tensor> {
    if weight.rank() != 2 {
        bail!("{NAME}: expected weight of shape (V, C), got {:?}", weight.dims());
    }
    expect_same_device(NAME, "ids", ids, weight)?;
    if ids.dtype() != DType::U32 {
        bail!("{NAME}: expected ids of dtype u32, got {}", ids.dtype().as_str());
    }
    if !weight.device().is_cpu() {
        return reference::embedding(weight, ids);
    }
    weight.contiguous()?.apply_op2(&ids.contiguous()?, Embedding)
}

struct Embedding;

impl CustomOp2 for Embedding {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        weight: &CpuStorage,
        weight_layout: &Layout,
        ids: &CpuStorage,
        ids_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let &[vocab_size, columns] = weight_layout.dims() else {
            bail!("{NAME}: expected weight of shape (V, C), got {:?}", weight_layout.dims());
        };
        let ids = elements::<u32>(NAME, ids, ids_layout)?;
        if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab_size) {
            bail!("{NAME}: expected ids below the vocabulary size {vocab_size}, got {id}");
        }
        let shape = [ids_layout.dims(), &[columns]].concat();
        by_dtype!(NAME, weight.dtype(), T => {
            let y = cpu::forward(elements::<T>(NAME, weight, weight_layout)?, ids, columns);
            Ok((T::to_cpu_storage_owned(y), shape.into()))
        })
    }

    fn bwd(
        &self,
        weight: &Tensor,
        ids: &Tensor,
        _y: &Tensor,
        d_y: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [d_y] = detached([d_y])?;
        let (vocab_size, columns) = weight.dims2()?;
        by_dtype!(NAME, weight.dtype(), T => {
            let ids = Elements::of(NAME, ids)?;
            let d_weight = cpu::backward(&Elements::<T>::of(NAME, &d_y)?, &ids, vocab_size, columns);
            Ok((Some(Tensor::from_vec(d_weight, weight.shape(), weight.device())?), None))
        })
    }
}
