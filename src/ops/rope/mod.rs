//! Rotary position embedding of the queries and keys in a packed tensor.

mod cpu;
mod reference;
#[cfg(test)]
mod tests;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::elements::{Elements, detached, elements, expect_like, expect_shape};
use super::real::by_dtype;

const NAME: &str = "rope";

/// Rotates the first `num_rotated_heads` heads by the angles of their position; copies the others.
///
/// With a head's vector in two halves (a, b): y = (a cos - b sin, b cos + a sin), the layout of Hugging Face
/// Llama, not the interleaved one of the paper.
/// Shapes: qkv (B, T, heads D), cos and sin (T, D / 2) -> (B, T, heads D). Dtypes: f32, f64 on the CPU.
/// Gradient: qkv (the rotation by the negative angle); none for cos and sin.
/// Errors: shape, dtype or device mismatch, a width that is no multiple of D, more rotated heads than heads.
/// Source: Su et al. 2021, arXiv 2104.09864, eq. 34.
pub fn rope(qkv: &Tensor, cos: &Tensor, sin: &Tensor, num_rotated_heads: usize) -> Result<Tensor> {
    let &[_, seq_len, width] = qkv.dims() else {
        bail!("{NAME}: expected qkv of shape (B, T, heads D), got {:?}", qkv.dims());
    };
    let &[_, half] = cos.dims() else {
        bail!("{NAME}: expected cos of shape (T, D / 2), got {:?}", cos.dims());
    };
    for (name, tensor) in [("cos", cos), ("sin", sin)] {
        expect_shape(NAME, name, tensor, &[seq_len, half])?;
        expect_like(NAME, name, tensor, qkv)?;
    }
    if half == 0 || !width.is_multiple_of(2 * half) || num_rotated_heads * 2 * half > width {
        let head_dim = 2 * half;
        bail!(
            "{NAME}: expected at least {num_rotated_heads} whole heads of {head_dim}, got a width of {width}"
        );
    }
    if !qkv.device().is_cpu() {
        return reference::rope(qkv, cos, sin, num_rotated_heads);
    }
    qkv.contiguous()?.apply_op3(&cos.contiguous()?, &sin.contiguous()?, Rope { num_rotated_heads })
}

struct Rope {
    num_rotated_heads: usize,
}

impl Rope {
    fn sizes(&self, qkv: &[usize], cos: &[usize]) -> cpu::Sizes {
        let [seq_len, half] = [cos[0], cos[1]];
        cpu::Sizes { batch: qkv[0], seq_len, width: qkv[2], half, num_rotated_heads: self.num_rotated_heads }
    }
}

impl CustomOp3 for Rope {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        qkv: &CpuStorage,
        qkv_layout: &Layout,
        cos: &CpuStorage,
        cos_layout: &Layout,
        sin: &CpuStorage,
        sin_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let sizes = self.sizes(qkv_layout.dims(), cos_layout.dims());
        by_dtype!(NAME, qkv.dtype(), T => {
            let (cos, sin) = (elements::<T>(NAME, cos, cos_layout)?, elements(NAME, sin, sin_layout)?);
            let y = cpu::forward(elements(NAME, qkv, qkv_layout)?, cos, sin, &sizes);
            Ok((T::to_cpu_storage_owned(y), qkv_layout.shape().clone()))
        })
    }

    fn bwd(
        &self,
        qkv: &Tensor,
        cos: &Tensor,
        sin: &Tensor,
        _y: &Tensor,
        d_y: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [d_y] = detached([d_y])?;
        let sizes = self.sizes(qkv.dims(), cos.dims());
        by_dtype!(NAME, qkv.dtype(), T => {
            let (cos, sin) = (Elements::<T>::of(NAME, cos)?, Elements::of(NAME, sin)?);
            let d_qkv = cpu::backward(&Elements::of(NAME, &d_y)?, &cos, &sin, &sizes);
            Ok((Some(Tensor::from_vec(d_qkv, qkv.shape(), qkv.device())?), None, None))
        })
    }
}
