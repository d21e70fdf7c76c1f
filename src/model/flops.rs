//! Floating-point operations of training, for the share of peak (MFU).

use super::ModelConfig;

/// Operations per token of one training step (forward and backward) at `seq_len`.
///
/// 6 per weight of every matrix product, the head's `head_rows` x C included (2 forward, 4 backward), and
/// 12 L H D T for attention counted as the full T x T product. Embedding look-ups, norms, activations and
/// the optimizer are not counted. Source: Kaplan et al. 2020, arXiv 2001.08361, section 2.1; Chowdhery et
/// al. 2022, arXiv 2204.02311, appendix B.
pub fn flops_per_token(config: &ModelConfig, head_rows: usize, seq_len: usize) -> f64 {
    let (sizes, spec) = (config.sizes(), config.spec());
    let maps: usize = spec.linear_maps().map(|map| map.shape.iter().product::<usize>()).sum();
    let attention = sizes.num_hidden_layers * sizes.num_attention_heads * sizes.head_dim * seq_len;
    6.0 * (maps + sizes.hidden_size * head_rows) as f64 + (12 * attention) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Gpt2Config;

    #[test]
    fn a_gpt2_layer_costs_twelve_squares_of_its_width() {
        let config = Gpt2Config { n_embd: 128, n_layer: 4, n_head: 4, ..Default::default() };
        let flops = flops_per_token(&ModelConfig::Gpt2(config), 4096, 128);
        assert_eq!(flops, 6.0 * (12.0 * 4.0 * 128.0 * 128.0 + 128.0 * 4096.0) + 12.0 * 4.0 * 128.0 * 128.0);
    }
}
