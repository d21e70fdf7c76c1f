//! What a model holds while it trains, counted from its sizes alone, so that one which fits no machine is known before
//! it is made.

use super::spec::{ParamSpec, Positions};
use super::{Head, ModelConfig};

/// Numbers that a model holds; all are lower bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Footprint {
    /// Scalars of the parameters.
    pub parameters: f64,
    /// Those of them in matrices of blocks.
    pub matrices: f64,
    /// Entries of the tables of rotary positions.
    pub tables: f64,
    /// Values kept of each token for the backward pass.
    pub kept_per_token: f64,
}

/// Counts what the model with this head holds; with `recompute` a block keeps its input alone.
///
/// Kept are, of each block, the inputs of both norms and of all four products, queries, keys and values, and what the
/// activation reads.
pub fn footprint(config: &ModelConfig, head: Head, recompute: bool) -> Footprint {
    let sizes = config.sizes();
    let (layers, width) = (sizes.num_hidden_layers as f64, sizes.hidden_size as f64);
    let spec = config.with_num_hidden_layers(1).spec();
    let scalars = |of: &ParamSpec| of.shape.iter().map(|length| *length as f64).product::<f64>();
    let all: f64 = spec.parameters(head).iter().map(scalars).sum();
    let block: f64 = spec.blocks.iter().flat_map(|block| block.parameters()).map(scalars).sum();
    let matrices: f64 = spec.linear_maps().map(scalars).sum();
    let ends = |of: &ParamSpec| {
        let (outputs, inputs) = spec.outputs_and_inputs(of);
        (outputs as f64, inputs as f64)
    };
    let of_block = |block: &super::spec::BlockSpec| {
        let outputs = [&block.qkv, &block.mlp_input].into_iter().flat_map(|linear| &linear.weights);
        let inputs =
            [&block.attention_output, &block.mlp_output].into_iter().flat_map(|linear| &linear.weights);
        outputs.map(|map| ends(map).0).sum::<f64>() + inputs.map(|map| ends(map).1).sum::<f64>() + 4.0 * width
    };
    let kept: f64 = spec.blocks.iter().map(of_block).sum();
    let tables = match spec.positions {
        Positions::Rotary(_) => (sizes.max_position_embeddings * sizes.head_dim) as f64,
        Positions::Learned(_) => 0.0,
    };
    Footprint {
        parameters: all + (layers - 1.0) * block,
        matrices: layers * matrices,
        tables,
        kept_per_token: if recompute { layers * width } else { layers * kept },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Gpt2Config, LlamaConfig, Place, Pooling, parameter_specs};

    #[test]
    fn parameters_are_counted_without_being_listed() {
        let llama = LlamaConfig { vocab_size: 300, num_hidden_layers: 3, ..LlamaConfig::default() };
        let gpt2 = Gpt2Config { vocab_size: 300, n_layer: 3, ..Gpt2Config::default() };
        for config in [ModelConfig::Llama(llama), ModelConfig::Gpt2(gpt2)] {
            for head in [Head::LanguageModel, Head::Classifier { num_labels: 2, pooling: Pooling::Last }] {
                let specs = parameter_specs(&config, head);
                let listed = |wanted: fn(&ParamSpec) -> bool| {
                    let wanted = specs.iter().filter(|spec| wanted(spec));
                    wanted.map(|spec| spec.shape.iter().product::<usize>() as f64).sum::<f64>()
                };
                let found = footprint(&config, head, false);
                assert_eq!(found.parameters, listed(|_| true));
                let is_matrix =
                    |spec: &ParamSpec| matches!(spec.place, Place::Block(_)) && spec.shape.len() == 2;
                assert_eq!(found.matrices, listed(is_matrix));
            }
        }
    }

    #[test]
    fn a_gpt2_block_keeps_sixteen_widths_of_each_token_and_recomputed_one() {
        // Four inputs of norms and products, three of q, k and v, one of the attention's output, twice four in the MLP.
        let config =
            ModelConfig::Gpt2(Gpt2Config { n_embd: 128, n_layer: 4, n_head: 4, ..Default::default() });
        assert_eq!(footprint(&config, Head::LanguageModel, false).kept_per_token, 4.0 * 16.0 * 128.0);
        assert_eq!(footprint(&config, Head::LanguageModel, true).kept_per_token, 4.0 * 128.0);
    }
}
