//! Rotary position embedding of the queries and keys in a packed tensor.

mod cpu;
mod cuda;
pub(super) mod reference;
#[cfg(test)]
mod tests;

use candle_core::{DType, Result, Tensor, bail};

use super::base::elements::{Elements, expect_like, expect_same_device, expect_shape};
use super::base::gpu::on_gpu;
use super::base::real::by_dtype;
use super::base::tape::{Gradient, Traced, by_reference, record};

const NAME: &str = "rope";

/// Where each row stands, and cosine and sine of the angles of each position, as tensors or as slices.
struct Tables<I, A> {
    positions: I,
    cos: A,
    sin: A,
    /// Angles of a position: D / 2.
    half: usize,
}

/// Rotates the first `num_rotated_heads` heads by the angles of their position; copies the others.
///
/// With a head's vector in two halves (a, b): y = (a cos - b sin, b cos + a sin), the layout of Hugging Face
/// Llama, not the interleaved one of the paper.
/// Shapes: qkv (N, heads D), positions (N) u32, cos and sin (P, D / 2) -> (N, heads D).
/// Dtypes: f32; f64 on the CPU, bf16 on a GPU, where cos and sin are f32.
/// Gradient: qkv (the rotation by the negative angle); none for cos and sin.
/// Errors: shape, dtype or device mismatch, a width that is no multiple of D, more rotated heads than heads,
/// a position of P or more.
/// Source: Su et al. 2021, arXiv 2104.09864, eq. 34.
pub fn rope(
    qkv: &Traced,
    positions: &Tensor,
    cos: &Tensor,
    sin: &Tensor,
    num_rotated_heads: usize,
) -> Result<Traced> {
    let &[rows, width] = qkv.dims() else {
        bail!("{NAME}: expected qkv of shape (N, heads D), got {:?}", qkv.dims());
    };
    let &[num_positions, half] = cos.dims() else {
        bail!("{NAME}: expected cos of shape (P, D / 2), got {:?}", cos.dims());
    };
    expect_shape(NAME, "positions", positions, &[rows])?;
    expect_same_device(NAME, "positions", positions, qkv.value())?;
    if positions.dtype() != DType::U32 {
        bail!("{NAME}: expected positions of dtype u32, got {}", positions.dtype().as_str());
    }
    let halves = !qkv.device().is_cpu() && qkv.dtype().size_in_bytes() < 4;
    for (name, tensor) in [("cos", cos), ("sin", sin)] {
        expect_shape(NAME, name, tensor, &[num_positions, half])?;
        if tensor.dtype() != DType::F32 || !halves {
            expect_like(NAME, name, tensor, qkv.value())?;
        }
    }
    if half == 0 || !width.is_multiple_of(2 * half) || num_rotated_heads * 2 * half > width {
        let head_dim = 2 * half;
        bail!(
            "{NAME}: expected at least {num_rotated_heads} whole heads of {head_dim}, got a width of {width}"
        );
    }
    let qkv = qkv.contiguous()?;
    let [positions, cos, sin] = [positions.contiguous()?, cos.contiguous()?, sin.contiguous()?];
    let tables = Tables { positions, cos, sin, half };
    on_gpu!(qkv.value() => cuda::rope(&qkv, tables, num_rotated_heads));
    if !qkv.device().is_cpu() {
        return by_reference(&[&qkv], move |t| {
            let [cos, sin] = [tables.cos.to_dtype(t[0].dtype())?, tables.sin.to_dtype(t[0].dtype())?];
            reference::rope(&t[0], &tables.positions, &cos, &sin, num_rotated_heads)
        });
    }
    by_dtype!(NAME, qkv.dtype(), T => {
        let rotate = move |x: &Tensor, sign: T| {
            let positions = Elements::<u32>::of(NAME, &tables.positions)?;
            if let Some(position) = positions.iter().find(|&&position| position as usize >= num_positions) {
                bail!("{NAME}: expected positions below {num_positions}, got {position}");
            }
            let (cos, sin) = (Elements::<T>::of(NAME, &tables.cos)?, Elements::<T>::of(NAME, &tables.sin)?);
            let tables = Tables { positions: &positions[..], cos: &cos[..], sin: &sin[..], half };
            Ok(cpu::rotate(&Elements::<T>::of(NAME, x)?, &tables, width, num_rotated_heads, sign))
        };
        let y = Tensor::from_vec(rotate(qkv.value(), T::from_f64(1.))?, qkv.dims(), qkv.device())?;
        let qkv = qkv.place()?;
        Ok(record(y, qkv.is_tracked(), move |d_y, gradients| {
            let d_qkv = rotate(d_y.values(), T::from_f64(-1.))?;
            gradients.add(&qkv, Gradient::new(d_qkv, qkv.dims())?)
        }))
    })
}
