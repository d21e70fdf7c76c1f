//! What the ops ask of their tensors: shapes, and the contiguous elements behind them.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::{Deref, Range};

use candle_core::{
    CpuStorage, Error, InplaceOp1, Layout, Result, Storage, StorageRef, Tensor, WithDType, bail,
};

use super::real::{Real, by_dtype};
use super::rows::add_chunks;

/// Fails unless the argument called `name` has exactly this shape.
pub fn expect_shape(op: &str, name: &str, tensor: &Tensor, expected: &[usize]) -> Result<()> {
    if tensor.dims() != expected {
        bail!("{op}: expected {name} of shape {expected:?}, got {:?}", tensor.dims());
    }
    Ok(())
}

/// Fails unless the argument called `name` has the dtype and the device of the op's first argument.
pub fn expect_like(op: &str, name: &str, tensor: &Tensor, first: &Tensor) -> Result<()> {
    if tensor.dtype() != first.dtype() {
        bail!("{op}: expected {name} of dtype {}, got {}", first.dtype().as_str(), tensor.dtype().as_str());
    }
    expect_same_device(op, name, tensor, first)
}

/// Fails unless the argument called `name` is on the device of the op's first argument.
pub fn expect_same_device(op: &str, name: &str, tensor: &Tensor, first: &Tensor) -> Result<()> {
    if !tensor.device().same_device(first.device()) {
        let (expected, got) = (first.device().location(), tensor.device().location());
        bail!("{op}: expected {name} on {expected:?}, got {got:?}");
    }
    Ok(())
}

/// Size of the last dimension.
pub fn last_dim(op: &str, name: &str, tensor: &Tensor) -> Result<usize> {
    match tensor.dims() {
        [.., last] => Ok(*last),
        [] => bail!("{op}: expected {name} with at least one dimension, got a scalar"),
    }
}

/// The elements of a contiguous tensor that an in-place op reads.
pub fn elements<'a, T: WithDType>(
    op: &'static str,
    storage: &'a CpuStorage,
    layout: &Layout,
) -> Result<&'a [T]> {
    Ok(&storage.as_slice::<T>()?[contiguous_range(op, layout)?])
}

/// The elements of a contiguous tensor that an in-place op changes.
pub fn elements_mut<'a, T: Real>(
    op: &'static str,
    storage: &'a mut CpuStorage,
    layout: &Layout,
) -> Result<&'a mut [T]> {
    Ok(&mut T::slice_mut(storage)?[contiguous_range(op, layout)?])
}

fn contiguous_range(op: &'static str, layout: &Layout) -> Result<Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(start..end),
        None => Err(Error::RequiresContiguous { op }.bt()),
    }
}

/// The elements of a tensor in CPU memory, as a backward pass needs them. Dereferences to a slice; the
/// tensor cannot be written while this lives.
pub struct Elements<'a, T> {
    storage: StorageRef<'a>,
    range: Range<usize>,
    element: PhantomData<T>,
}

impl<'a, T: WithDType> Elements<'a, T> {
    /// Fails unless the tensor is a contiguous one of `T` on the CPU.
    pub fn of(op: &'static str, tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        let Storage::Cpu(cpu) = &*storage else {
            bail!("{op}: expected a tensor on the CPU, got {:?}", tensor.device().location());
        };
        cpu.as_slice::<T>()?;
        let range = contiguous_range(op, layout)?;
        Ok(Self { storage, range, element: PhantomData })
    }
}

impl<T: WithDType> Deref for Elements<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let Storage::Cpu(cpu) = &*self.storage else { unreachable!("`of` accepts CPU tensors only") };
        &cpu.as_slice::<T>().expect("`of` has checked the dtype")[self.range.clone()]
    }
}

/// Lets `change` write the elements of a contiguous tensor on the CPU.
pub fn change_in_place<T: Real>(tensor: &Tensor, change: impl FnOnce(&mut [T])) -> Result<()> {
    tensor.inplace_op1(&Change { change: Cell::new(Some(change)), element: PhantomData })
}

/// sum += x, two contiguous tensors on the CPU.
pub fn add_in_place(sum: &Tensor, x: &Tensor) -> Result<()> {
    expect_shape("sum of gradients", "gradient", x, sum.dims())?;
    by_dtype!("sum of gradients", x.dtype(), T => {
        let x = x.contiguous()?;
        let x = Elements::<T>::of("sum of gradients", &x)?;
        change_in_place(sum, |sum: &mut [T]| add_chunks(sum, &x))
    })
}

struct Change<T, F> {
    change: Cell<Option<F>>,
    element: PhantomData<T>,
}

impl<T: Real, F: FnOnce(&mut [T])> InplaceOp1 for Change<T, F> {
    fn name(&self) -> &'static str {
        "change in place"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        if let Some(change) = self.change.take() {
            change(elements_mut(self.name(), storage, layout)?);
        }
        Ok(())
    }
}
