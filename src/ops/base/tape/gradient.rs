//! A gradient on its way back, and when its memory may be written.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Shape, Tensor, WithDType};

use super::super::elements::add_in_place;
use super::super::gpu::on_gpu;

/// A gradient, handed from one backward to the next.
///
/// Gradients of one tensor are added up in place, so the memory of one must not be in use elsewhere. There is
/// no `Clone`: memory shared by two gradients is written by neither until one of them is gone, and memory
/// that came from a plain tensor, which somebody may have kept, is never written.
pub struct Gradient {
    values: Arc<Tensor>,
    /// Whether the memory was made for a gradient, so that no plain tensor has it.
    own: bool,
}

impl From<Tensor> for Gradient {
    fn from(values: Tensor) -> Self {
        Self { values: Arc::new(values), own: false }
    }
}

impl Gradient {
    /// A gradient on the CPU from elements just computed.
    pub fn new<T: WithDType>(values: Vec<T>, shape: impl Into<Shape>) -> Result<Self> {
        Ok(Self::own(Tensor::from_vec(values, shape, &Device::Cpu)?))
    }

    /// A gradient of memory that the caller has just made and keeps no other tensor of.
    pub(in crate::ops) fn own(values: Tensor) -> Self {
        Self { values: Arc::new(values), own: true }
    }

    /// The values as a plain tensor; copied if another gradient has the memory too.
    pub fn into_tensor(self) -> Result<Tensor> {
        match Arc::try_unwrap(self.values) {
            Ok(values) => Ok(values),
            Err(shared) if self.own => shared.copy(),
            Err(shared) => Ok((*shared).clone()),
        }
    }

    /// The values for a kernel to read.
    pub(in crate::ops) fn values(&self) -> &Tensor {
        &self.values
    }

    /// The same gradient for two inputs, in the same memory.
    pub(in crate::ops) fn share(self) -> [Self; 2] {
        [Self { values: self.values.clone(), own: self.own }, self]
    }

    /// The values for a kernel to write; none while others may have the memory.
    pub(in crate::ops) fn values_mut(&mut self) -> Option<&Tensor> {
        let own = self.own;
        Arc::get_mut(&mut self.values).filter(|_| own).map(|values| &*values)
    }

    /// The same gradient in memory that may be written: a copy only where it must be one.
    pub(in crate::ops) fn exclusive(mut self) -> Result<Self> {
        if self.values_mut().is_some() { Ok(self) } else { Ok(Self::own(self.values.copy()?)) }
    }

    /// The sum of two gradients of one tensor, in the memory of one of them where that may be written.
    pub(super) fn plus(mut self, mut other: Self) -> Result<Self> {
        if self.values.device().is_cpu() && matches!(self.values.dtype(), DType::F32 | DType::F64) {
            if let Some(sum) = self.values_mut() {
                add_in_place(sum, &other.values)?;
                return Ok(self);
            }
            if let Some(sum) = other.values_mut() {
                add_in_place(sum, &self.values)?;
                return Ok(other);
            }
        }
        let (a, b) = (self.values, other.values);
        on_gpu!(a.dtype() == b.dtype(), &a => super::super::cuda::combine(Some(&a), &b, None).map(Self::own));
        Ok(Self::own((&*a + &*b)?))
    }

    /// The same values as `dtype`, one row after the other.
    pub(super) fn contiguous_as(self, dtype: DType) -> Result<Self> {
        if self.values.dtype() == dtype && self.values.is_contiguous() {
            return Ok(self);
        }
        Ok(Self::own(self.values.to_dtype(dtype)?.contiguous()?))
    }
}
