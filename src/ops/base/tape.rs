//! Reverse-mode differentiation of the ops in this folder, on every device.
//!
//! candle's own walk fills every gradient with zeros before it adds to it, keeps all activations until the
//! loss is dropped, and drops a gradient silently where an op has no backward. Here a gradient is moved into
//! its place, an op's activations go as soon as its backward has run, and every op has one. Where a device
//! has no kernel for an op, its reference runs, and candle differentiates that op alone.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use candle_core::{DType, Device, Result, Tensor, TensorId, Var, bail};

use super::elements::{add_in_place, change_in_place};
use super::real::Real;
use super::rows::zeros;

/// A tensor that ops compute with, and where its gradient goes when it wants one.
#[derive(Clone)]
pub struct Traced {
    value: Tensor,
    node: Option<Rc<Node>>,
}

enum Node {
    /// A `candle_core::Var`.
    Variable(TensorId),
    /// The result of an op: its place in the order of computation, and the op's backward until it has run.
    Computed { number: u64, backward: RefCell<Option<Backward>> },
}

/// Takes the gradient of an op's result and adds to those of its inputs.
type Backward = Box<dyn FnOnce(Tensor, &mut GradientSums) -> Result<()>>;

thread_local! {
    static NEXT_NUMBER: Cell<u64> = const { Cell::new(0) };
    static RECORDING: Cell<bool> = const { Cell::new(true) };
}

impl From<&Tensor> for Traced {
    /// A variable wants its gradient, any other tensor does not.
    fn from(tensor: &Tensor) -> Self {
        if tensor.is_variable() {
            Self { value: tensor.detach(), node: Some(Rc::new(Node::Variable(tensor.id()))) }
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
    pub(in crate::ops) fn is_tracked(&self) -> bool {
        self.node.is_some()
    }

    /// The same elements, contiguous.
    pub(in crate::ops) fn contiguous(&self) -> Result<Self> {
        Ok(self.with_value(self.value.contiguous()?))
    }

    /// The same place for a gradient, with the same elements in other memory.
    pub(in crate::ops) fn with_value(&self, value: Tensor) -> Self {
        Self { value, node: self.node.clone() }
    }

    /// The same place for a gradient without the elements, for a backward that reads none of them.
    pub(in crate::ops) fn place(&self) -> Result<Self> {
        Ok(self.with_value(Tensor::zeros(0, self.dtype(), self.device())?))
    }
}

/// The result `y` of an op, with its backward if any of its inputs is `tracked`.
pub(in crate::ops) fn record(
    y: Tensor,
    tracked: bool,
    backward: impl FnOnce(Tensor, &mut GradientSums) -> Result<()> + 'static,
) -> Traced {
    if !tracked || !RECORDING.get() {
        return y.into();
    }
    let number = NEXT_NUMBER.get();
    NEXT_NUMBER.set(number + 1);
    let backward = RefCell::new(Some(Box::new(backward) as Backward));
    Traced { value: y, node: Some(Rc::new(Node::Computed { number, backward })) }
}

/// The result of `reference`, an op in candle's own differentiable ops, on tensors like `inputs`.
///
/// Backward computes it again on variables of its own, and candle walks back through this op alone.
pub(in crate::ops) fn by_reference(
    inputs: &[&Traced],
    reference: impl Fn(&[Tensor]) -> Result<Tensor> + 'static,
) -> Result<Traced> {
    let inputs: Vec<Traced> = inputs.iter().map(|&input| input.clone()).collect();
    let values: Vec<Tensor> = inputs.iter().map(|input| input.value.clone()).collect();
    let tracked = inputs.iter().any(Traced::is_tracked);
    Ok(record(reference(&values)?, tracked, move |d_y, gradients| {
        let variables: Vec<Var> = values.iter().map(Var::from_tensor).collect::<Result<_>>()?;
        let tensors: Vec<Tensor> = variables.iter().map(|variable| variable.as_tensor().clone()).collect();
        let found = (reference(&tensors)? * d_y)?.sum_all()?.backward()?;
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
pub fn recompute(x: &Traced, forward: impl Fn(&Traced) -> Result<Traced> + 'static) -> Result<Traced> {
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
    variables: HashMap<TensorId, Tensor>,
    /// Of results whose backward has not run yet, by age.
    computed: BTreeMap<u64, (Rc<Node>, Tensor)>,
}

impl GradientSums {
    /// Adds the gradients of `loss`, a scalar, for every variable it depends on.
    pub fn backward(&mut self, loss: &Traced) -> Result<()> {
        self.backward_from(loss, Tensor::ones(loss.dims(), loss.dtype(), loss.device())?)
    }

    /// As [`backward`](Self::backward), for any tensor `y` and its gradient `d_y`.
    pub fn backward_from(&mut self, y: &Traced, d_y: Tensor) -> Result<()> {
        self.add(y, d_y)?;
        // An op's inputs are older than its result, so the newest result has all of its gradient.
        while let Some((_, (node, d_y))) = self.computed.pop_last() {
            let Node::Computed { backward, .. } = &*node else { continue };
            match backward.take() {
                Some(backward) => backward(d_y, self)?,
                None => bail!("a second backward pass over the same results"),
            }
        }
        Ok(())
    }

    /// Adds to the gradient of `input`, if it wants one. The tensor is given up: on the CPU others may be
    /// added to it in place. Gradients of variables that are halves are added up in f32.
    pub(in crate::ops) fn add(&mut self, input: &Traced, gradient: Tensor) -> Result<()> {
        let Some(node) = &input.node else { return Ok(()) };
        let gradient = match **node {
            Node::Variable(_) if gradient.dtype().size_in_bytes() < 4 => gradient.to_dtype(DType::F32)?,
            _ => gradient,
        };
        match self.sum_of(node) {
            Some(sum) if sum.device().is_cpu() && gradient.dtype().size_in_bytes() >= 4 => {
                add_in_place(sum, &gradient)
            }
            Some(sum) => {
                let sum = super::super::add::sum_of_two(sum, &gradient)?;
                self.insert(node, sum);
                Ok(())
            }
            None => {
                self.insert(node, gradient);
                Ok(())
            }
        }
    }

    /// As [`add`](Self::add), where `kernel` writes a tensor on a GPU, or adds to it when told so; it is of
    /// f32 where the input is a variable.
    #[cfg(feature = "cuda")]
    pub(in crate::ops) fn add_on_gpu(
        &mut self,
        input: &Traced,
        kernel: impl FnOnce(&Tensor, bool) -> Result<()>,
    ) -> Result<()> {
        let Some(node) = &input.node else { return Ok(()) };
        if let Some(sum) = self.sum_of(node) {
            return kernel(sum, true);
        }
        let dtype = match **node {
            Node::Variable(_) => DType::F32,
            Node::Computed { .. } => input.dtype(),
        };
        let gradient = super::cuda::empty(input.dims(), dtype, input.device())?;
        kernel(&gradient, false)?;
        self.insert(node, gradient);
        Ok(())
    }

    /// Takes what has been added up for `input` so far, if it is of `dtype`, for an op that adds its own part as
    /// it computes it.
    #[cfg(feature = "cuda")]
    pub(in crate::ops) fn take(&mut self, input: &Traced, dtype: DType) -> Option<Tensor> {
        let node = input.node.as_ref()?;
        if self.sum_of(node)?.dtype() != dtype {
            return None;
        }
        match **node {
            Node::Variable(id) => self.variables.remove(&id),
            Node::Computed { number, .. } => self.computed.remove(&number).map(|(_, sum)| sum),
        }
    }

    /// As [`add`](Self::add), where `kernel` adds to the elements.
    pub(in crate::ops) fn add_with<T: Real>(
        &mut self,
        input: &Traced,
        kernel: impl FnOnce(&mut [T]),
    ) -> Result<()> {
        let Some(node) = &input.node else { return Ok(()) };
        match self.sum_of(node) {
            Some(sum) => change_in_place(sum, kernel),
            None => {
                let mut sum = zeros(input.value.elem_count());
                kernel(&mut sum);
                self.insert(node, Tensor::from_vec(sum, input.dims(), input.device())?);
                Ok(())
            }
        }
    }

    fn sum_of(&self, node: &Node) -> Option<&Tensor> {
        match node {
            Node::Variable(id) => self.variables.get(id),
            Node::Computed { number, .. } => self.computed.get(number).map(|(_, sum)| sum),
        }
    }

    fn insert(&mut self, node: &Rc<Node>, gradient: Tensor) {
        match **node {
            Node::Variable(id) => {
                self.variables.insert(id, gradient);
            }
            Node::Computed { number, .. } => {
                self.computed.insert(number, (node.clone(), gradient));
            }
        }
    }

    /// The gradient of a variable, given away; none if no loss depended on it.
    pub fn remove(&mut self, variable: &Tensor) -> Option<Tensor> {
        self.variables.remove(&variable.id())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor, Var};

    use super::super::super::{add, multiply, weighted_sum};
    use super::super::testing::flat;
    use super::{GradientSums, Traced, by_reference, recompute};

    fn variable(values: &[f64]) -> Var {
        Var::new(values, &Device::Cpu).unwrap()
    }

    #[test]
    fn gradients_of_several_passes_add_up() {
        let x = variable(&[1., 2., 3.]);
        let weights = x.detach().copy().unwrap();
        let mut gradients = GradientSums::default();
        for _ in 0..2 {
            gradients.backward(&weighted_sum(&x.as_tensor().into(), &weights).unwrap()).unwrap();
        }
        assert_eq!(flat(&gradients.remove(&x).unwrap()), [2., 4., 6.]);
        assert!(gradients.remove(&x).is_none());
    }

    #[test]
    fn an_op_without_a_kernel_gets_its_gradients_from_candle() {
        let (x, y) = (variable(&[1., 2., 3.]), variable(&[5., 6., 7.]));
        let both = [Traced::from(x.as_tensor()), Traced::from(y.as_tensor())];
        // The product of a result and a variable, so that one input is itself computed.
        let product = |a: &Traced, b: &Traced| by_reference(&[a, b], |t| &t[0] * &t[1]).unwrap();
        let loss = weighted_sum(&product(&product(&both[0], &both[1]), &both[0]), &x.ones_like().unwrap());
        let mut gradients = GradientSums::default();
        gradients.backward(&loss.unwrap()).unwrap();
        assert_eq!(flat(&gradients.remove(&x).unwrap()), [10., 24., 42.]);
        assert_eq!(flat(&gradients.remove(&y).unwrap()), [1., 4., 9.]);
    }

    #[test]
    fn a_second_walk_over_the_same_results_is_an_error() {
        let x = variable(&[1., 2.]);
        let loss = weighted_sum(&x.as_tensor().into(), &x.ones_like().unwrap()).unwrap();
        let mut gradients = GradientSums::default();
        gradients.backward(&loss).unwrap();
        let error = gradients.backward(&loss).unwrap_err().to_string();
        assert!(error.contains("second backward pass"), "{error}");
    }

    #[test]
    fn what_is_computed_again_has_the_same_gradients() {
        let (x, inner) = (variable(&[1., 2.]), variable(&[3., 4.]));
        let factors = Tensor::new(&[5f64, 6.], &Device::Cpu).unwrap();
        // The first input wants no gradient, a variable inside does.
        for outer in [Traced::from(x.as_tensor()), Traced::from(x.detach())] {
            let inside = Traced::from(inner.as_tensor());
            let scale = factors.clone();
            let y = recompute(&outer, move |x| multiply(&add(x, &inside, None)?, &scale)).unwrap();
            let mut gradients = GradientSums::default();
            gradients.backward(&weighted_sum(&y, &factors).unwrap()).unwrap();
            assert_eq!(flat(y.value()), [20., 36.]);
            assert_eq!(flat(&gradients.remove(&inner).unwrap()), [25., 36.]);
            assert_eq!(gradients.remove(&x).map(|x| flat(&x)), outer.is_tracked().then(|| vec![25., 36.]));
        }
    }
}
