//! Which parameters are updated when, and how: groups of parameters and stages of a training.

use std::collections::BTreeSet;

use super::OptimConfig;
use crate::model::{ParamSpec, Place};

/// Parameters that are updated alike, as in torch.optim.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamGroup {
    /// Hugging Face names.
    pub names: BTreeSet<String>,
    /// Factor of the learning rate that the schedule gives.
    pub learning_rate_scale: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl ParamGroup {
    /// The parameters that are `wanted` as two groups: those that decay as `[optim]` says, and those that never do.
    ///
    /// Norms and biases (one dimension) never decay, embeddings only when asked.
    pub fn by_decay(
        specs: &[ParamSpec],
        optim: &OptimConfig,
        learning_rate_scale: f64,
        wanted: impl Fn(&ParamSpec) -> bool,
    ) -> [Self; 2] {
        let decays = |spec: &ParamSpec| {
            spec.shape.len() >= 2 && (optim.decay_embeddings || spec.place != Place::Embedding)
        };
        [(true, optim.weight_decay), (false, 0.0)].map(|(decaying, weight_decay)| {
            let chosen = specs.iter().filter(|spec| wanted(spec) && decays(spec) == decaying);
            let names = chosen.map(|spec| spec.name.clone()).collect();
            Self { names, learning_rate_scale, weight_decay }
        })
    }
}

/// A part of a training. Each begins with fresh moments and a warm-up of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// Share of the run at which it ends, 0 to 1.
    pub until: f64,
    /// What is trained; every other parameter stays as it is. The rate of the first group is the one logged.
    pub groups: Vec<ParamGroup>,
}

impl Stage {
    /// The whole training at one rate of all parameters.
    pub fn of_all(specs: &[ParamSpec], optim: &OptimConfig) -> Self {
        Self { until: 1.0, groups: ParamGroup::by_decay(specs, optim, 1.0, |_| true).into() }
    }

    /// Whether it trains the parameter called `name`.
    pub fn trains(&self, name: &str) -> bool {
        self.groups.iter().any(|group| group.names.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Init;

    #[test]
    fn matrices_decay_norms_do_not_and_embeddings_when_asked() {
        let spec = |place, name, shape: &[usize]| ParamSpec::new(place, name, shape, Init::Ones);
        let specs = [
            spec(Place::Embedding, "wte.weight", &[4, 2]),
            spec(Place::Block(0), "mlp.weight", &[2, 2]),
            spec(Place::FinalNorm, "norm.weight", &[2]),
        ];
        for (decay_embeddings, expected) in [(false, 1), (true, 2)] {
            let optim = OptimConfig { weight_decay: 0.3, decay_embeddings, ..OptimConfig::default() };
            let [decaying, others] = ParamGroup::by_decay(&specs, &optim, 0.5, |_| true);
            assert!(decaying.names.contains("mlp.weight") && others.names.contains("norm.weight"));
            assert_eq!((decaying.names.len(), others.names.len()), (expected, 3 - expected));
            assert_eq!((decaying.weight_decay, others.weight_decay), (0.3, 0.0));
        }
    }
}
