//! Self-attention over packed queries, keys and values.
//!
//! The (T, T) matrix of a head never exists: blocks of query rows meet the keys that they see, in buffers that stay in
//! the cache. Backward computes the probabilities again.

mod cpu;
mod cuda;
pub(super) mod reference;
mod softmax;
#[cfg(test)]
mod tests;

use candle_core::{Result, Tensor, bail};

use super::base::elements::Elements;
use super::base::gpu::on_gpu;
use super::base::real::by_dtype;
use super::base::tape::{Gradient, Traced, by_reference, record};

pub use reference::attention_cached;

const NAME: &str = "attention";

/// What of its sequence a position sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mask {
    /// Itself and all before it.
    #[default]
    Causal,
    /// All of it.
    Bidirectional,
}

/// Lets every position attend to those of its sequence that `mask` lets it see.
///
/// y = softmax(q k^T / sqrt(D) + mask) v for each head; head h uses key-value head h / (H / K). The sequences
/// stand one after the other, so that short ones need no padding.
/// Shapes: qkv (N, (H + 2K) D), all query heads first, then keys, then values -> (N, H D), where N is the sum
/// of `lengths`. Dtypes: f32; f64 on the CPU, bf16 on a GPU (sums in f32).
/// Gradient: qkv.
/// Errors: not two dimensions, H not a multiple of K, a width that is not a multiple of H + 2K, lengths that
/// do not add up to N.
/// Source: Vaswani et al. 2017, arXiv 1706.03762, eq. 1; grouped queries: Ainslie et al. 2023, arXiv
/// 2305.13245; blocks and recomputation: Dao et al. 2022, arXiv 2205.14135.
pub fn attention(
    qkv: &Traced,
    lengths: &[usize],
    num_heads: usize,
    num_kv_heads: usize,
    mask: Mask,
) -> Result<Traced> {
    expect_groups(num_heads, num_kv_heads)?;
    let heads = num_heads + 2 * num_kv_heads;
    let &[rows, width] = qkv.dims() else {
        bail!("{NAME}: expected qkv of shape (N, {heads} D), got {:?}", qkv.dims());
    };
    if width == 0 || !width.is_multiple_of(heads) {
        bail!("{NAME}: expected a qkv width that is a multiple of {heads} heads, got {width}");
    }
    if lengths.iter().sum::<usize>() != rows {
        bail!("{NAME}: expected lengths that add up to {rows} rows, got {}", lengths.iter().sum::<usize>());
    }
    let (qkv, head_dim) = (qkv.contiguous()?, width / heads);
    let sizes = cpu::Sizes { lengths: lengths.to_vec(), num_heads, num_kv_heads, head_dim, mask };
    on_gpu!(cuda::fits(&qkv, head_dim)?, qkv.value() => cuda::attention(&qkv, sizes));
    if !qkv.device().is_cpu() {
        return by_reference(&[&qkv], move |t| {
            reference::attention(&t[0], &sizes.lengths, num_heads, num_kv_heads, mask)
        });
    }
    by_dtype!(NAME, qkv.dtype(), T => {
        let y = cpu::forward(&Elements::<T>::of(NAME, qkv.value())?, &sizes);
        let y = Tensor::from_vec(y, (rows, num_heads * head_dim), qkv.device())?;
        Ok(record(y, qkv.is_tracked(), move |d_y, gradients| {
            let d_y = Elements::<T>::of(NAME, d_y.values())?;
            let d_qkv = cpu::backward(&Elements::of(NAME, qkv.value())?, &d_y, &sizes);
            gradients.add(&qkv, Gradient::new(d_qkv, qkv.dims())?)
        }))
    })
}

fn expect_groups(num_heads: usize, num_kv_heads: usize) -> Result<()> {
    if num_heads == 0 || num_kv_heads == 0 || !num_heads.is_multiple_of(num_kv_heads) {
        bail!(
            "{NAME}: expected num_heads to be a multiple of num_kv_heads, got {num_heads} and {num_kv_heads}"
        );
    }
    Ok(())
}
