//! An operation of your own on the tape: forward, gradient, and the checks that both are right.
//!
//! The op is a gate of squared ReLU, y = max(gate, 0)^2 up: the activation of Primer (So et al. 2021, arXiv
//! 2109.08668) in a gated unit. `cargo run --example own_op` prints the checks, then trains with it.

use candle_core::{Result, Tensor, Var};
use train::ops::{self, GradientSums, Traced, WeightLayout};

const NAME: &str = "squared_relu_gate";

/// Multiplies `up` by the square of what is positive in `gate`, element by element.
///
/// Shapes: both alike.
/// Gradient: gate, 2 max(gate, 0) up d_y; up, max(gate, 0)^2 d_y.
/// Errors: shape, dtype or device mismatch.
fn squared_relu_gate(gate: &Traced, up: &Traced) -> Result<Traced> {
    ops::expect_shape(NAME, "up", up.value(), gate.dims())?;
    ops::expect_like(NAME, "up", up.value(), gate.value())?;
    // Forward works on plain tensors, of which candle records nothing. What backward needs, it takes along.
    let open = gate.value().relu()?;
    let y = (open.sqr()? * up.value())?;
    let (gate, up) = (gate.clone(), up.clone());
    Ok(ops::record(y, gate.is_tracked() || up.is_tracked(), move |d_y, gradients| {
        let d_y = d_y.into_tensor()?;
        gradients.add(&gate, ((&open * 2.)? * (up.value() * &d_y)?)?)?;
        gradients.add(&up, (open.sqr()? * d_y)?)
    }))
}

/// The same in candle's own ops, which candle differentiates.
fn reference(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.relu()?.sqr()? * up
}

fn main() -> Result<()> {
    // One call holds result and gradients against the reference and gradients against central differences.
    let inputs = [ops::normal("gate", &[7, 33])?, ops::normal("up", &[7, 33])?];
    let checks = ops::check(&inputs, |t| squared_relu_gate(&t[0], &t[1]), |t| reference(&t[0], &t[1]))?;
    checks.iter().for_each(|check| println!("{check}"));
    assert!(checks.iter().all(ops::Check::passes), "the op is not what its reference says");

    // Wrong arguments are refused in words.
    let narrow = Traced::from(inputs[1].narrow(1, 0, 32)?);
    if let Err(error) = squared_relu_gate(&Traced::from(&inputs[0]), &narrow) {
        println!("{}", error.to_string().lines().next().unwrap_or_default());
    }
    train()
}

/// One gated layer learns to give 1: the op beside those of the library, on one tape.
fn train() -> Result<()> {
    let x = Traced::from(ops::normal("x", &[16, 8])?);
    let weight = |name: &str| Var::from_tensor(&(ops::normal(name, &[4, 8])? * 0.3)?);
    let weights = [weight("gate weight")?, weight("up weight")?];
    for step in 0..=300 {
        let linear = |weight: &Var| ops::linear(&x, &[weight.as_tensor().into()], None, WeightLayout::OutIn);
        let y = squared_relu_gate(&linear(&weights[0])?, &linear(&weights[1])?)?;
        let error = (y.value() - 1.)?;
        if step % 100 == 0 {
            println!("step {step}: mean squared error {:.3}", error.sqr()?.mean_all()?.to_scalar::<f64>()?);
        }
        // The gradient of the mean of 64 squares is 2 / 64 times the error.
        let mut gradients = GradientSums::default();
        gradients.backward_from(&y, (error / 32.)?)?;
        for weight in &weights {
            let gradient = gradients.remove(weight)?.expect("the loss depends on both weights");
            weight.set(&(weight.as_detached_tensor() - (gradient * 0.05)?)?)?;
        }
    }
    Ok(())
}
