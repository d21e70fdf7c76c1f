//! The trainable parameters by Hugging Face name, in sorted order, from seeded streams.
//!
//! candle's `VarMap` is a hash map with an unseeded initialiser; sums over it differ from process to
//! process. A `BTreeMap` and one stream per name keep every run the same.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor, Var};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal, StandardUniform};

use super::spec::{Init, ParamSpec};
use crate::rng;

/// Weights a forward pass reads, by name: tracked by autograd or not.
pub type Weights = BTreeMap<String, Tensor>;

/// `count` numbers from the stream of the parameter's own name.
fn drawn(seed: u64, name: &str, count: usize, draw: impl Fn(&mut ChaCha8Rng) -> f64) -> Vec<f32> {
    let mut stream = rng::stream(seed, &format!("init/{name}"), &[]);
    (0..count).map(|_| draw(&mut stream) as f32).collect()
}

/// The parameters of one model, sorted by name.
pub struct Params {
    vars: BTreeMap<String, Var>,
    /// What training computes with, where it does so in another type; the optimizer keeps it equal to `vars`.
    computed_with: BTreeMap<String, Var>,
}

impl Params {
    /// Draws every parameter from the stream of its own name, so that adding one changes no other.
    ///
    /// Errors: the device cannot hold them.
    pub fn init(specs: &[ParamSpec], seed: u64, device: &Device) -> Result<Self> {
        let mut vars = BTreeMap::new();
        for spec in specs {
            let count = spec.shape.iter().product();
            let values = match spec.init {
                Init::Ones => vec![1f32; count],
                Init::Zeros => vec![0f32; count],
                Init::Normal(std) => drawn(seed, &spec.name, count, |stream| {
                    let z: f64 = StandardNormal.sample(stream);
                    z * std
                }),
                Init::Uniform(bound) => drawn(seed, &spec.name, count, |stream| {
                    let u: f64 = StandardUniform.sample(stream); // 0 to 1
                    (2.0 * u - 1.0) * bound
                }),
            };
            vars.insert(spec.name.clone(), Var::from_vec(values, spec.shape.as_slice(), device)?);
        }
        Ok(Self { vars, computed_with: BTreeMap::new() })
    }

    /// The same parameters with copies of `dtype` that training computes with; f32 needs none.
    ///
    /// Errors: the device cannot hold them.
    pub fn computing_in(mut self, dtype: DType) -> Result<Self> {
        self.computed_with.clear();
        if dtype != DType::F32 {
            let copy = |(name, var): (&String, &Var)| {
                Ok((name.clone(), Var::from_tensor(&var.as_detached_tensor().to_dtype(dtype)?)?))
            };
            self.computed_with = self.vars.iter().map(copy).collect::<Result<_>>()?;
        }
        Ok(self)
    }

    /// The variable that training computes with in place of a parameter, where that is of another type.
    pub fn computed_with(&self, name: &str) -> Option<&Var> {
        self.computed_with.get(name)
    }

    /// Names and variables in sorted order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.vars.iter().map(|(name, var)| (name.as_str(), var))
    }

    /// Where the parameters live.
    pub fn device(&self) -> Device {
        self.vars.values().next().map_or(Device::Cpu, |var| var.device().clone())
    }

    /// Number of scalars.
    pub fn count(&self) -> usize {
        self.vars.values().map(|var| var.elem_count()).sum()
    }

    /// Weights for training, in which the parameters chosen by `trainable` get gradients; in the type that
    /// training computes in.
    pub fn tracked(&self, trainable: impl Fn(&str) -> bool) -> Weights {
        let weight = |(name, var): (&String, &Var)| {
            let var = self.computed_with(name).unwrap_or(var);
            let tensor = if trainable(name) { var.as_tensor().clone() } else { var.as_detached_tensor() };
            (name.clone(), tensor)
        };
        self.vars.iter().map(weight).collect()
    }

    /// The parameters themselves, f32, for a forward pass without gradients; they follow later updates.
    pub fn detached(&self) -> Weights {
        self.vars.iter().map(|(name, var)| (name.clone(), var.as_detached_tensor())).collect()
    }

    /// A copy of the values of the parameters that are `wanted`; later updates do not touch it.
    pub fn snapshot(&self, wanted: impl Fn(&str) -> bool) -> Result<Weights> {
        let wanted = self.vars.iter().filter(|(name, _)| wanted(name));
        wanted.map(|(name, var)| Ok((name.clone(), var.as_tensor().copy()?.detach()))).collect()
    }

    /// Overwrites the parameters named in `values`; shapes must agree.
    ///
    /// Errors: a name that is not a parameter here, or another shape.
    pub fn assign(&self, values: &Weights) -> Result<()> {
        for (name, value) in values {
            let Some(var) = self.vars.get(name) else {
                candle_core::bail!("no parameter is called {name}");
            };
            let value = value.to_dtype(DType::F32)?.to_device(var.device())?.contiguous()?;
            var.set(&value)?;
            if let Some(copy) = self.computed_with.get(name) {
                copy.set(&value.to_dtype(copy.dtype())?)?;
            }
        }
        Ok(())
    }
}
