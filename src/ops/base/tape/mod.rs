//! Reverse-mode differentiation of the ops in this folder, on every device.
//!
//! candle's own walk fills every gradient with zeros first, keeps all activations until the loss is dropped and drops
//! a gradient silently where an op has no backward. Here a gradient is moved into its place, an op's activations go as
//! soon as its backward has run, and every op has one, if need be by candle, which then differentiates that op alone.

mod cuda;
mod gradient;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Result, Tensor, TensorId, Var, bail};

use super::elements::{change_in_place, expect_shape};
use super::real::Real;
use super::rows::zeros;

pub use gradient::Gradient;

/// A tensor that ops compute with, and where its gradient goes when it wants one.
#[derive(Clone)]
pub struct Traced {
    value: Tensor,
    node: Option<Arc<Node>>,
}

enum Node {
    /// A `candle_core::Var`.
    Variable(TensorId),
    /// The result of an op: its place in the order of computation, and the op's backward until it has run.
    Computed { number: u64, backward: Mutex<Option<Backward>> },
}

/// Takes the gradient of an op's result and adds to those of its inputs.
type Backward = Box<dyn FnOnce(Gradient, &mut GradientSums) -> Result<()> + Send>;

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static RECORDING: Cell<bool> = const { Cell::new(true) };
}

impl From<&Tensor> for Traced {
    /// A variable wants its gradient, any other tensor does not.
    fn from(tensor: &Tensor) -> Self {
        if tensor.is_variable() {
            Self { value: tensor.detach(), node: Some(Arc::new(Node::Variable(tensor.id()))) }
        } else {
            Self { value: tensor.clone(), node: None }
        }
    }
}

impl From<Tensor> for Traced {
    fn from(tensor: Tensor) -> Self {
        Self::from(&tensor)
    }
}

impl Traced {
    /// The tensor itself. What candle computes from it gets no gradient.
    pub fn value(&self) -> &Tensor {
        &self.value
    }

    /// Sizes of the dimensions.
    pub fn dims(&self) -> &[usize] {
        self.value.dims()
    }

    /// Type of the elements.
    pub fn dtype(&self) -> DType {
        self.value.dtype()
    }

    /// Where the elements are.
    pub fn device(&self) -> &Device {
        self.value.device()
    }

    /// Whether a gradient is wanted.
    pub fn is_tracked(&self) -> bool {
        self.node.is_some()
    }

    /// The same elements, contiguous.
    pub fn contiguous(&self) -> Result<Self> {
        Ok(self.with_value(self.value.contiguous()?))
    }

    /// The same place for a gradient, with the same elements in other memory.
    pub(in crate::ops) fn with_value(&self, value: Tensor) -> Self {
        Self { value, node: self.node.clone() }
    }

    /// The same place for a gradient without the elements, for a backward that reads none of them.
    pub(in crate::ops) fn place(&self) -> Result<Self> {
        Ok(self.with_value(Tensor::zeros((), self.dtype(), &Device::Cpu)?.broadcast_as(self.dims())?))
    }

    /// Type of the gradient: sums over the uses of a variable need more digits than halves have.
    pub(in crate::ops) fn gradient_dtype(&self) -> DType {
        match self.node.as_deref() {
            Some(Node::Variable(_)) if self.dtype().size_in_bytes() < 4 => DType::F32,
            _ => self.dtype(),
        }
    }
}

/// The result `y` of an op, with its backward where any of its inputs is `tracked`.
///
/// `backward` is given the gradient of `y` and [adds](GradientSums::add) to those of the inputs.
pub fn record(
    y: Tensor,
    tracked: bool,
    backward: impl FnOnce(Gradient, &mut GradientSums) -> Result<()> + Send + 'static,
) -> Traced {
    if !tracked || !RECORDING.get() {
        return y.into();
    }
    let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
    let backward = Mutex::new(Some(Box::new(backward) as Backward));
    Traced { value: y, node: Some(Arc::new(Node::Computed { number, backward })) }
}

/// The result of `reference`, an op in candle's own differentiable ops, on tensors like `inputs`.
///
/// Backward computes it again on variables of its own, and candle walks back through this op alone.
pub fn by_reference(
    inputs: &[&Traced],
    reference: impl Fn(&[Tensor]) -> Result<Tensor> + Send + 'static,
) -> Result<Traced> {
    let inputs: Vec<Traced> = inputs.iter().map(|&input| input.clone()).collect();
    let values: Vec<Tensor> = inputs.iter().map(|input| input.value.clone()).collect();
    let tracked = inputs.iter().any(Traced::is_tracked);
    Ok(record(reference(&values)?, tracked, move |d_y, gradients| {
        let variables: Vec<Var> = values.iter().map(Var::from_tensor).collect::<Result<_>>()?;
        let tensors: Vec<Tensor> = variables.iter().map(|variable| variable.as_tensor().clone()).collect();
        let found = (reference(&tensors)? * d_y.values())?.sum_all()?.backward()?;
        for (input, variable) in inputs.iter().zip(&variables).filter(|(input, _)| input.is_tracked()) {
            let Some(gradient) = found.get(variable) else { bail!("candle found no gradient") };
            gradients.add(input, gradient.detach().contiguous()?)?;
        }
        Ok(())
    }))
}

/// Runs `forward` on `x` and keeps `x` alone; backward computes everything between anew.
///
/// Saves the memory of the activations for one more forward pass. `forward` must give the same bits again.
/// Source: Chen et al. 2016, arXiv 1604.06174.
pub fn recompute(x: &Traced, forward: impl Fn(&Traced) -> Result<Traced> + Send + 'static) -> Result<Traced> {
    let recording = RECORDING.replace(false);
    let y = forward(x);
    RECORDING.set(recording);
    let x = x.clone();
    // Even where `x` wants no gradient, variables inside `forward` may.
    Ok(record(y?.value, true, move |d_y, gradients| gradients.add(&forward(&x)?, d_y)))
}

/// Gradients by variable, added up over any number of backward passes.
#[derive(Default)]
pub struct GradientSums {
    variables: HashMap<TensorId, Gradient>,
    /// Of results whose backward has not run yet, by age.
    computed: BTreeMap<u64, (Arc<Node>, Gradient)>,
}

impl GradientSums {
    /// Adds the gradients of `loss`, a scalar, for every variable it depends on.
    pub fn backward(&mut self, loss: &Traced) -> Result<()> {
        self.backward_from(loss, Tensor::ones(loss.dims(), loss.dtype(), loss.device())?)
    }

    /// As [`backward`](Self::backward), for any tensor `y` and its gradient `d_y`.
    pub fn backward_from(&mut self, y: &Traced, d_y: impl Into<Gradient>) -> Result<()> {
        self.add(y, d_y)?;
        // An op's inputs are older than its result, so the newest result has all of its gradient.
        while let Some((_, (node, d_y))) = self.computed.pop_last() {
            let Node::Computed { backward, .. } = &*node else { continue };
            let backward = backward.lock().unwrap_or_else(PoisonError::into_inner).take();
            match backward {
                Some(backward) => backward(d_y, self)?,
                None => bail!("a second backward pass over the same results"),
            }
        }
        Ok(())
    }

    /// Adds to the gradient of `input`, if it wants one. Gradients of variables that are halves are added up
    /// in f32.
    pub fn add(&mut self, input: &Traced, gradient: impl Into<Gradient>) -> Result<()> {
        if !input.is_tracked() {
            return Ok(());
        }
        let gradient = gradient.into();
        expect_shape("backward", "a gradient", gradient.values(), input.dims())?;
        let gradient = gradient.contiguous_as(input.gradient_dtype())?;
        self.change(input, |sum| match sum {
            Some(sum) => sum.plus(gradient),
            None => Ok(gradient),
        })
    }

    /// As [`add`](Self::add), where `kernel` adds to the elements.
    pub(in crate::ops) fn add_with<T: Real>(
        &mut self,
        input: &Traced,
        kernel: impl FnOnce(&mut [T]),
    ) -> Result<()> {
        self.change(input, |sum| {
            let mut sum = match sum {
                Some(sum) => sum.exclusive()?,
                None => Gradient::new(zeros::<T>(input.value.elem_count()), input.dims())?,
            };
            if let Some(values) = sum.values_mut() {
                change_in_place(values, kernel)?;
            }
            Ok(sum)
        })
    }

    /// Takes what has been added up for `input` so far, if it is of the input's type, for an op that adds its
    /// own part as it computes it.
    pub(in crate::ops) fn take(&mut self, input: &Traced) -> Option<Gradient> {
        if input.gradient_dtype() == input.dtype() { self.taken(input.node.as_deref()?) } else { None }
    }

    fn taken(&mut self, node: &Node) -> Option<Gradient> {
        match node {
            Node::Variable(id) => self.variables.remove(id),
            Node::Computed { number, .. } => self.computed.remove(number).map(|(_, sum)| sum),
        }
    }

    /// Puts `next`, made of what has been added up so far, into its place, if `input` wants a gradient.
    pub(in crate::ops) fn change(
        &mut self,
        input: &Traced,
        next: impl FnOnce(Option<Gradient>) -> Result<Gradient>,
    ) -> Result<()> {
        let Some(node) = &input.node else { return Ok(()) };
        let sum = next(self.taken(node))?;
        match **node {
            Node::Variable(id) => {
                self.variables.insert(id, sum);
            }
            Node::Computed { number, .. } => {
                self.computed.insert(number, (node.clone(), sum));
            }
        }
        Ok(())
    }

    /// The gradient of a variable, given away; none if no loss depended on it.
    pub fn remove(&mut self, variable: &Tensor) -> Result<Option<Tensor>> {
        self.variables.remove(&variable.id()).map(Gradient::into_tensor).transpose()
    }
}
