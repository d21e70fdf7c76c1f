//! Logits, loss and gradients of an encoder's classifier as another program found them, and a model held against them.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use train::internals::tensor_file;
use train::model::{
    Classifier, Dropout, Head, ModelConfig, Params, Pooling, TokenRows, Weights, parameter_specs,
};
use train::ops::{self, GradientSums};

use crate::support::root;

/// Largest distance to the other program, which computed in f64, as a share of the largest value of the tensor.
const CLOSE: f64 = 1e-5;
/// Values below are rounding: a bias of the keys moves no softmax, so its gradient is zero.
const SMALL: f64 = 1e-2;

/// What a script stored, and the model that it is about.
pub struct Golden {
    pub config: ModelConfig,
    pooling: Pooling,
    pub weights: Weights,
    gradients: Weights,
    values: Weights,
}

impl Golden {
    /// The file `tests/fixtures/golden_NAME.safetensors`, which holds the weights of this model with three labels.
    pub fn read(name: &str, config: ModelConfig, pooling: Pooling) -> Self {
        let path = root().join(format!("tests/fixtures/golden_{name}.safetensors"));
        let (mut weights, mut gradients, mut values) = (Weights::new(), Weights::new(), Weights::new());
        for (name, tensor) in tensor_file::read(&path).unwrap() {
            match name.strip_prefix("grad.") {
                Some(name) => gradients.insert(name.to_string(), tensor),
                None if name.contains('.') => weights.insert(name, tensor),
                None => values.insert(name, tensor),
            };
        }
        let specs = parameter_specs(&config, Head::Classifier { num_labels: 3, pooling });
        let expected: BTreeMap<_, _> = specs.into_iter().map(|spec| (spec.name, spec.shape)).collect();
        tensor_file::check_shapes(&path, &weights, &expected).unwrap();
        Self { config, pooling, weights, gradients, values }
    }

    fn numbers(&self, name: &str) -> Vec<f64> {
        numbers(&self.values[name])
    }

    /// The rows that are in `chosen`, without padding.
    pub fn rows(&self, chosen: &[usize]) -> TokenRows {
        let ids = self.values["input_ids"].to_dtype(DType::U32).unwrap();
        let lengths = self.numbers("lengths");
        let lengths: Vec<usize> = chosen.iter().map(|row| lengths[*row] as usize).collect();
        let row = |(row, length): (&usize, &usize)| ids.get(*row).unwrap().narrow(0, 0, *length).unwrap();
        let rows: Vec<Tensor> = chosen.iter().zip(&lengths).map(row).collect();
        TokenRows::new(&Tensor::cat(&rows, 0).unwrap(), &lengths, 0).unwrap()
    }

    /// Asserts that logits, loss and every gradient are the stored ones, with and without recomputing.
    pub fn assert_holds(&self) {
        let specs = parameter_specs(&self.config, Head::Classifier { num_labels: 3, pooling: self.pooling });
        for recompute in [false, true] {
            let params = Params::init(&specs, 0, &Device::Cpu).unwrap();
            params.assign(&self.weights).unwrap();
            let model = Classifier::new(&self.config, &params.tracked(|_| true), self.pooling).unwrap();
            let model = model.with_recompute(recompute);
            let logits = model.logits(&self.rows(&[0, 1, 2]), &mut Dropout::off()).unwrap();
            assert_close("logits", &numbers(logits.value()), &self.numbers("logits"));
            let labels: Vec<u32> = self.numbers("labels").into_iter().map(|label| label as u32).collect();
            let losses = ops::cross_entropy(&logits, &Tensor::new(labels, &Device::Cpu).unwrap()).unwrap();
            let mean = Tensor::full(1.0f32 / 3.0, 3, &Device::Cpu).unwrap();
            let loss = ops::weighted_sum(&losses, &mean).unwrap();
            assert_close("loss", &numbers(loss.value()), &self.numbers("loss"));
            let mut sums = GradientSums::default();
            sums.backward(&loss).unwrap();
            for (name, var) in params.iter() {
                let found = sums.remove(var).unwrap().unwrap_or_else(|| panic!("no gradient for {name}"));
                assert_close(name, &numbers(&found), &numbers(&self.gradients[name]));
            }
        }
    }
}

pub fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

pub fn assert_close(what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(SMALL, |largest, value| largest.max(value.abs()));
    let errors = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs() / largest);
    let worst = errors.fold(0.0, f64::max);
    assert!(worst <= CLOSE, "{what}: off by {worst:.1e}");
}

/// How far the first token's state moves when the last of four tokens becomes another.
pub fn moved_by_last_token(model: &Classifier) -> f64 {
    let first_state = |ids: &[u32]| {
        let rows = TokenRows::new(&Tensor::new(ids, &Device::Cpu).unwrap(), &[ids.len()], 0).unwrap();
        numbers(&model.hidden(&rows, &mut Dropout::off()).unwrap().value().get(0).unwrap())
    };
    let (a, b) = (first_state(&[5, 6, 7, 8]), first_state(&[5, 6, 7, 9]));
    a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}
