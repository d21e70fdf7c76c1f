//! Which parameters are updated when, and how: groups of parameters and stages of a training.

use std::collections::BTreeSet;

use super::{OptimConfig, OptimizerKind};
use crate::model::{ParamSpec, Place, is_update};

/// Parameters that are updated alike, as in torch.optim.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamGroup {
    /// Hugging Face names.
    pub names: BTreeSet<String>,
    /// By whom.
    pub kind: OptimizerKind,
    /// Factor of the learning rate that the schedule gives.
    pub learning_rate_scale: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl ParamGroup {
    /// The parameters that are `wanted` as three groups: those of Muon, those of AdamW that decay as `[optim]` says, and
    /// those that never do. Any may be empty.
    ///
    /// Norms and biases (one dimension) never decay, embeddings only when asked.
    pub fn by_kind_and_decay(
        specs: &[ParamSpec],
        optim: &OptimConfig,
        learning_rate_scale: f64,
        wanted: impl Fn(&ParamSpec) -> bool,
    ) -> [Self; 3] {
        let decays = |spec: &ParamSpec| {
            spec.shape.len() >= 2 && (optim.decay_embeddings || spec.place != Place::Embedding)
        };
        let kind_of = |spec: &ParamSpec| match is_matrix_of_block(spec) {
            true => optim.kind,
            false => OptimizerKind::AdamW,
        };
        let groups =
            [(OptimizerKind::Muon, true), (OptimizerKind::AdamW, true), (OptimizerKind::AdamW, false)];
        groups.map(|(kind, decaying)| {
            let belongs = |spec: &&ParamSpec| kind_of(spec) == kind && decays(spec) == decaying;
            let chosen = specs.iter().filter(|spec| wanted(spec)).filter(belongs);
            let weight_decay = if decaying { optim.weight_decay } else { 0.0 };
            let names = chosen.map(|spec| spec.name.clone()).collect();
            Self { names, kind, learning_rate_scale, weight_decay }
        })
    }
}

/// Whether Muon may update it. Low-rank updates are left to AdamW: what LoRA's rates and scale are tried with.
fn is_matrix_of_block(spec: &ParamSpec) -> bool {
    matches!(spec.place, Place::Block(_)) && spec.shape.len() == 2 && !is_update(&spec.name)
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
        Self { until: 1.0, groups: ParamGroup::by_kind_and_decay(specs, optim, 1.0, |_| true).into() }
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
            spec(Place::Block(0), "mlp.bias", &[2]),
            spec(Place::Block(0), "mlp.lora_A.weight", &[1, 2]),
            spec(Place::FinalNorm, "norm.weight", &[2]),
            spec(Place::Head, "score.weight", &[2, 2]),
        ];
        let names = |group: &ParamGroup| group.names.iter().cloned().collect::<Vec<_>>().join(" ");
        for (kind, decay_embeddings, expected) in [
            (
                OptimizerKind::AdamW,
                false,
                ["", "mlp.lora_A.weight mlp.weight score.weight", "mlp.bias norm.weight wte.weight"],
            ),
            (
                OptimizerKind::AdamW,
                true,
                ["", "mlp.lora_A.weight mlp.weight score.weight wte.weight", "mlp.bias norm.weight"],
            ),
            (
                OptimizerKind::Muon,
                false,
                ["mlp.weight", "mlp.lora_A.weight score.weight", "mlp.bias norm.weight wte.weight"],
            ),
        ] {
            let optim = OptimConfig { kind, weight_decay: 0.3, decay_embeddings, ..OptimConfig::default() };
            let groups = ParamGroup::by_kind_and_decay(&specs, &optim, 0.5, |_| true);
            assert_eq!(groups.each_ref().map(names), expected);
            assert_eq!(groups.each_ref().map(|group| group.weight_decay), [0.3, 0.3, 0.0]);
            assert_eq!(
                groups.map(|group| group.kind),
                [OptimizerKind::Muon, OptimizerKind::AdamW, OptimizerKind::AdamW]
            );
        }
    }
}
