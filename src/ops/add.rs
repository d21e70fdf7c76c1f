//! Sums of tensors: the residual stream, and the loss.

#[cfg(feature = "cuda")]
mod cuda;

use candle_core::{Result, Tensor, bail};

use super::base::elements::{Elements, expect_like, expect_shape};
use super::base::real::{Real, by_dtype};
use super::base::rows::fill_rows;
use super::base::tape::{Traced, by_reference, record};

/// Adds a branch to the residual stream, each element of it times one of `factors` where there are any.
///
/// y = residual + branch * factors.
/// Shapes: all alike.
/// Gradient: residual, branch; none for the factors, which are dropout's mask.
/// Errors: shape, dtype or device mismatch.
pub fn add(residual: &Traced, branch: &Traced, factors: Option<&Tensor>) -> Result<Traced> {
    for (name, tensor) in [("branch", Some(branch.value())), ("factors", factors)] {
        let Some(tensor) = tensor else { continue };
        expect_shape("add", name, tensor, residual.dims())?;
        expect_like("add", name, tensor, residual.value())?;
    }
    let (residual, branch) = (residual.contiguous()?, branch.contiguous()?);
    let factors = factors.map(Tensor::contiguous).transpose()?;
    #[cfg(feature = "cuda")]
    if super::base::cuda::runs(residual.value()) {
        let y = cuda::combine(Some(residual.value()), branch.value(), factors.as_ref())?;
        return Ok(record(y, residual.is_tracked() || branch.is_tracked(), move |d_y, gradients| {
            // Off the CPU nothing is added to a gradient in place, so both inputs may have the same one.
            let d_branch = match &factors {
                Some(factors) => cuda::combine(None, &d_y, Some(factors))?,
                None => d_y.clone(),
            };
            gradients.add(&branch, d_branch)?;
            gradients.add(&residual, d_y)
        }));
    }
    if !residual.device().is_cpu() {
        return by_reference(&[&residual, &branch], move |t| match &factors {
            Some(factors) => &t[0] + (&t[1] * factors)?,
            None => &t[0] + &t[1],
        });
    }
    by_dtype!("add", residual.dtype(), T => {
        let y = {
            let a = Elements::<T>::of("add", residual.value())?;
            let b = Elements::<T>::of("add", branch.value())?;
            match &factors {
                Some(factors) => {
                    let factors = Elements::<T>::of("add", factors)?;
                    combined([&a, &b, &factors], |[a, b, factor]| a + b * factor)
                }
                None => combined([&a, &b], |[a, b]| a + b),
            }
        };
        let y = Tensor::from_vec(y, residual.dims(), residual.device())?;
        Ok(record(y, residual.is_tracked() || branch.is_tracked(), move |d_y, gradients| {
            // A copy, since each gradient must be in memory of its own.
            let d_branch = {
                let d_y = Elements::<T>::of("add", &d_y)?;
                match &factors {
                    Some(factors) => {
                        let factors = Elements::<T>::of("add", factors)?;
                        combined([&d_y, &factors], |[d_y, factor]| d_y * factor)
                    }
                    None => combined([&d_y], |[d_y]| d_y),
                }
            };
            gradients.add(&branch, Tensor::from_vec(d_branch, branch.dims(), branch.device())?)?;
            gradients.add(&residual, d_y)
        }))
    })
}

/// The sum of two gradients of one tensor, in memory of its own.
pub(super) fn sum_of_two(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if super::base::cuda::runs(a) && a.dtype() == b.dtype() {
        return cuda::combine(Some(&a.contiguous()?), &b.contiguous()?, None);
    }
    a + b
}

/// `value` of the elements of all inputs that stand at the same place.
fn combined<T: Real, const N: usize>(inputs: [&[T]; N], value: impl Fn([T; N]) -> T + Sync) -> Vec<T> {
    let len = inputs.iter().map(|input| input.len()).min().unwrap_or(0);
    fill_rows(len, 1, |range, out| {
        let inputs = inputs.map(|input| &input[range.clone()][..out.len()]);
        for (i, out) in out.iter_mut().enumerate() {
            *out = value(inputs.map(|input| input[i]));
        }
    })
}

/// Adds `branch` times `scale` to the columns of `x` from `start` on.
///
/// y[:, start + j] = x[:, start + j] + scale * branch[:, j]; the other columns stay as they are.
/// Shapes: x (N, C), branch (N, B) with start + B <= C -> (N, C).
/// Gradient: x, branch; the elements of neither are kept for it.
/// Errors: shape, dtype or device mismatch.
pub fn add_columns(x: &Traced, branch: &Traced, start: usize, scale: f64) -> Result<Traced> {
    let (rows, width) = x.value().dims2()?;
    let columns = branch.value().dims2()?.1;
    expect_shape("add_columns", "branch", branch.value(), &[rows, columns])?;
    expect_like("add_columns", "branch", branch.value(), x.value())?;
    if start + columns > width {
        bail!("add_columns: columns {start}..{} do not lie in {width}", start + columns);
    }
    if !x.device().is_cpu() {
        let right = width - start - columns;
        return by_reference(&[x, branch], move |t| {
            &t[0] + (&t[1] * scale)?.pad_with_zeros(1, start, right)?
        });
    }
    let (x, branch) = (x.contiguous()?, branch.contiguous()?);
    by_dtype!("add_columns", x.dtype(), T => {
        let scale = T::from_f64(scale);
        let y = {
            let x = Elements::<T>::of("add_columns", x.value())?;
            let branch = Elements::<T>::of("add_columns", branch.value())?;
            fill_rows(rows, width, |range, out| {
                out.copy_from_slice(&x[range.start * width..range.end * width]);
                for (row, out) in range.zip(out.chunks_exact_mut(width)) {
                    let branch = &branch[row * columns..][..columns];
                    out[start..].iter_mut().zip(branch).for_each(|(y, b)| *y += *b * scale);
                }
            })
        };
        let y = Tensor::from_vec(y, (rows, width), x.device())?;
        let (x, branch) = (x.place()?, branch.place()?);
        Ok(record(y, x.is_tracked() || branch.is_tracked(), move |d_y, gradients| {
            let d_branch = {
                let d_y = Elements::<T>::of("add_columns", &d_y)?;
                fill_rows(rows, columns, |range, out| {
                    for (row, out) in range.zip(out.chunks_exact_mut(columns)) {
                        let d_y = &d_y[row * width + start..][..columns];
                        out.iter_mut().zip(d_y).for_each(|(d_b, d_y)| *d_b = *d_y * scale);
                    }
                })
            };
            gradients.add(&branch, Tensor::from_vec(d_branch, (rows, columns), d_y.device())?)?;
            gradients.add(&x, d_y)
        }))
    })
}

/// Multiplies each element by its factor: dropout where there is no residual stream.
///
/// Shapes: both alike. Gradient: x.
pub fn multiply(x: &Traced, factors: &Tensor) -> Result<Traced> {
    expect_shape("multiply", "factors", factors, x.dims())?;
    expect_like("multiply", "factors", factors, x.value())?;
    let y = (x.value() * factors)?;
    let (x, factors) = (x.clone(), factors.clone());
    Ok(record(y, x.is_tracked(), move |d_y, gradients| gradients.add(&x, (d_y * factors)?)))
}

/// The scalar sum of all elements, each times its weight.
///
/// Shapes: both alike -> (). Gradient: x.
pub fn weighted_sum(x: &Traced, weights: &Tensor) -> Result<Traced> {
    expect_shape("weighted_sum", "weights", weights, x.dims())?;
    expect_like("weighted_sum", "weights", weights, x.value())?;
    let y = (x.value() * weights)?.sum_all()?;
    let (x, weights) = (x.clone(), weights.clone());
    Ok(record(y, x.is_tracked(), move |d_y, gradients| gradients.add(&x, weights.broadcast_mul(&d_y)?)))
}

#[cfg(test)]
mod tests {
    use super::super::base::testing::{assert_error, check, seeded};
    use super::{add, add_columns, multiply, weighted_sum};

    #[test]
    fn sums_agree_with_candles() {
        for shape in [&[1, 1][..], &[5, 7], &[130, 33]] {
            let (x, y, factors) = (seeded("x", shape), seeded("y", shape), seeded("factors", shape));
            let inputs = [x.clone(), y];
            let like = |x: &candle_core::Tensor| factors.to_dtype(x.dtype());
            check(&inputs, |t| add(&t[0], &t[1], None), |t| &t[0] + &t[1]);
            check(
                &inputs,
                |t| add(&t[0], &t[1], Some(&like(t[0].value())?)),
                |t| &t[0] + (&t[1] * like(&t[0])?)?,
            );
            check(
                std::slice::from_ref(&x),
                |t| multiply(&t[0], &like(t[0].value())?),
                |t| &t[0] * like(&t[0])?,
            );
            check(&[x], |t| weighted_sum(&t[0], &like(t[0].value())?), |t| (&t[0] * like(&t[0])?)?.sum_all());
        }
    }

    #[test]
    fn a_branch_goes_into_its_columns_alone() {
        for (rows, width, columns, start) in [(1, 1, 1, 0), (5, 7, 3, 0), (5, 7, 3, 4), (130, 65, 33, 17)] {
            check(
                &[seeded("x", &[rows, width]), seeded("branch", &[rows, columns])],
                |t| add_columns(&t[0], &t[1], start, 1.7),
                |t| &t[0] + (&t[1] * 1.7)?.pad_with_zeros(1, start, width - start - columns)?,
            );
        }
    }

    #[test]
    fn a_tensor_can_be_added_to_itself() {
        let x = seeded("x", &[3, 4]);
        check(&[x], |t| add(&add(&t[0], &t[0], None)?, &t[0], None), |t| (&t[0] + &t[0])? + &t[0]);
    }

    #[test]
    fn wrong_arguments_are_errors() {
        let (x, y) = (seeded("x", &[2, 3]), seeded("y", &[3, 2]));
        let sum = add(&(&x).into(), &(&y).into(), None).map(|sum| sum.value().clone());
        assert_error(sum, &["add", "branch", "[2, 3]", "[3, 2]"]);
        let sum = |start| add_columns(&(&x).into(), &(&x).into(), start, 1.).map(|sum| sum.value().clone());
        assert_error(sum(1), &["add_columns", "1..4", "3"]);
    }
}
