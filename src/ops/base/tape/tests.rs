use candle_core::{Device, Tensor, Var};

use super::super::super::{add, multiply, weighted_sum};
use super::super::testing::flat;
use super::{Gradient, GradientSums, Traced, by_reference, recompute};

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
    assert_eq!(flat(&gradients.remove(&x).unwrap().unwrap()), [2., 4., 6.]);
    assert!(gradients.remove(&x).unwrap().is_none());
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
    assert_eq!(flat(&gradients.remove(&x).unwrap().unwrap()), [10., 24., 42.]);
    assert_eq!(flat(&gradients.remove(&y).unwrap().unwrap()), [1., 4., 9.]);
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
        assert_eq!(flat(&gradients.remove(&inner).unwrap().unwrap()), [25., 36.]);
        assert_eq!(
            gradients.remove(&x).unwrap().map(|x| flat(&x)),
            outer.is_tracked().then(|| vec![25., 36.])
        );
    }
}

#[test]
fn only_memory_that_nobody_else_has_is_written() {
    let new = || Gradient::new(vec![1f64, 2.], 2).unwrap();
    let doubled = |gradient: Gradient| flat(&gradient.plus(new()).unwrap().into_tensor().unwrap());
    // What the caller has kept, as a tensor or as the other half of a pair, stays what it was.
    let kept = Tensor::new(&[1f64, 2.], &Device::Cpu).unwrap();
    assert_eq!(doubled(kept.clone().into()), [2., 4.]);
    assert_eq!(flat(&kept), [1., 2.]);
    let [first, second] = new().share();
    assert_eq!(flat(&first.plus(Gradient::from(kept.clone())).unwrap().into_tensor().unwrap()), [2., 4.]);
    assert_eq!((flat(second.values()), flat(&kept)), (vec![1., 2.], vec![1., 2.]));
    // The pair is gone, and with it the reason to copy.
    let mut second = second;
    assert!(second.values_mut().is_some());
    assert_eq!(doubled(second), [2., 4.]);
}

#[test]
fn a_gradient_of_another_shape_is_an_error() {
    let x = variable(&[1., 2.]);
    let wrong = GradientSums::default().add(&x.as_tensor().into(), Tensor::new(1f64, &Device::Cpu).unwrap());
    let error = wrong.unwrap_err().to_string();
    assert!(error.contains("[2]") && error.contains("[]"), "{error}");
}

#[test]
fn tensors_and_their_gradients_can_move_to_another_thread() {
    fn is_send<T: Send + Sync>() {}
    is_send::<Traced>();
    is_send::<GradientSums>();
}
