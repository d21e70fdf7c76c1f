//! Causal self-attention over packed queries, keys and values.
//!
//! The (T, T) matrix of a head never exists: blocks of query rows meet the keys up to the block's end, in
//! buffers that stay in the cache. Backward computes the probabilities again.

mod cpu;
mod reference;
mod softmax;
#[cfg(test)]
mod tests;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::elements::{Elements, detached, elements};
use super::real::by_dtype;

pub use reference::attention_cached;

const NAME: &str = "attention";

/// Lets every position attend to itself and to all before it.
///
/// y = softmax(q k^T / sqrt(D) + mask) v for each head; head h uses key-value head h / (H / K).
/// Shapes: qkv (B, T, (H + 2K) D), all query heads first, then keys, then values -> (B, T, H D).
/// Dtypes: f32, f64 on the CPU.
/// Gradient: qkv.
/// Errors: not three dimensions, H not a multiple of K, a width that is not a multiple of H + 2K.
/// Source: Vaswani et al. 2017, arXiv 1706.03762, eq. 1; grouped queries: Ainslie et al. 2023, arXiv
/// 2305.13245; blocks and recomputation: Dao et al. 2022, arXiv 2205.14135.
pub fn attention(qkv: &Tensor, num_heads: usize, num_kv_heads: usize) -> Result<Tensor> {
    expect_groups(num_heads, num_kv_heads)?;
    let heads = num_heads + 2 * num_kv_heads;
    let &[_, _, width] = qkv.dims() else {
        bail!("{NAME}: expected qkv of shape (B, T, {heads} D), got {:?}", qkv.dims());
    };
    if width == 0 || !width.is_multiple_of(heads) {
        bail!("{NAME}: expected a qkv width that is a multiple of {heads} heads, got {width}");
    }
    if !qkv.device().is_cpu() {
        return reference::attention(qkv, num_heads, num_kv_heads);
    }
    qkv.contiguous()?.apply_op1(Attention { num_heads, num_kv_heads })
}

fn expect_groups(num_heads: usize, num_kv_heads: usize) -> Result<()> {
    if num_heads == 0 || num_kv_heads == 0 || !num_heads.is_multiple_of(num_kv_heads) {
        bail!(
            "{NAME}: expected num_heads to be a multiple of num_kv_heads, got {num_heads} and {num_kv_heads}"
        );
    }
    Ok(())
}

struct Attention {
    num_heads: usize,
    num_kv_heads: usize,
}

impl Attention {
    fn sizes(&self, qkv: &[usize]) -> cpu::Sizes {
        cpu::Sizes {
            batch: qkv[0],
            seq_len: qkv[1],
            num_heads: self.num_heads,
            num_kv_heads: self.num_kv_heads,
            head_dim: qkv[2] / (self.num_heads + 2 * self.num_kv_heads),
        }
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let sizes = self.sizes(layout.dims());
        let shape = (sizes.batch, sizes.seq_len, sizes.num_heads * sizes.head_dim).into();
        by_dtype!(NAME, qkv.dtype(), T => {
            let y = cpu::forward(elements::<T>(NAME, qkv, layout)?, &sizes);
            Ok((T::to_cpu_storage_owned(y), shape))
        })
    }

    fn bwd(&self, qkv: &Tensor, _y: &Tensor, d_y: &Tensor) -> Result<Option<Tensor>> {
        let [qkv, d_y] = detached([qkv, d_y])?;
        let sizes = self.sizes(qkv.dims());
        by_dtype!(NAME, qkv.dtype(), T => {
            let d_qkv = cpu::backward(&Elements::<T>::of(NAME, &qkv)?, &Elements::of(NAME, &d_y)?, &sizes);
            Ok(Some(Tensor::from_vec(d_qkv, qkv.shape(), qkv.device())?))
        })
    }
}
