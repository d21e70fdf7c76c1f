//! Whether a training fits into memory, estimated before any of it is taken.

use candle_core::Device;

use super::TrainConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Footprint, Head, ModelConfig, footprint};
use crate::optim::OptimizerKind;
use crate::process;

/// Bytes of a number.
const F32: f64 = 4.0;
/// Copies of each trained parameter beside itself: two moments of AdamW, and its gradient or, later, its value at the best
/// evaluation. Muon has one moment.
const COPIES: f64 = 3.0;
/// Bytes of a token of a step on the host: its id and its target.
const TOKEN: f64 = 8.0;

/// A training that is about to start.
pub struct Asked<'a> {
    /// Sizes of the model.
    pub model: &'a ModelConfig,
    /// What it ends in.
    pub head: Head,
    /// `[train]`.
    pub train: &'a TrainConfig,
    /// Who updates the matrices of the blocks.
    pub optimizer: OptimizerKind,
    /// Sequences of a micro-batch; fewer than asked for where there are no more.
    pub rows: usize,
    /// Tokens of a sequence, on average.
    pub tokens_per_row: f64,
    /// Whether everything is trained; else neither copies nor activations are counted.
    pub trains_all: bool,
}

impl Asked<'_> {
    /// Errors: the memory that is free on the CPU cannot hold it, with what would fit (69). The estimate is a lower bound:
    /// what it lets pass may still be too much.
    pub fn check(&self, device: &Device) -> Result<()> {
        if device.is_cpu() { self.fits(process::free_memory_bytes() as f64) } else { Ok(()) }
    }

    fn fits(&self, free: f64) -> Result<()> {
        let Footprint { parameters, matrices, tables, kept_per_token } =
            footprint(self.model, self.head, self.train.recompute);
        let saved = if self.optimizer == OptimizerKind::Muon { matrices } else { 0.0 };
        let copies = if self.trains_all { COPIES * parameters - saved } else { 0.0 };
        let fixed = F32 * (parameters + copies + tables);
        let kept = if self.trains_all { F32 * kept_per_token } else { 0.0 };
        let per_row = self.tokens_per_row * kept;
        let step = self.tokens_per_row * TOKEN * self.rows as f64 * self.train.grad_accum_steps as f64;
        let need = fixed + step + per_row * self.rows as f64;
        if need <= free {
            return Ok(());
        }
        let TrainConfig { micro_batch_size, grad_accum_steps, seq_len, recompute, .. } = self.train;
        let what = format!(
            "{parameters:.0} parameters and {} x {:.0} tokens at once need {} or more, {} are free",
            self.rows,
            self.tokens_per_row,
            gigabytes(need),
            gigabytes(free)
        );
        let fitting = ((free - fixed - step) / per_row).max(0.0).min(self.rows as f64) as usize;
        let recompute = if *recompute || !self.trains_all { "" } else { ", or train.recompute=true" };
        let advice = match largest_power_of_two(fitting) {
            0 if fixed < free && fixed + step > free => {
                format!(
                    "the ids of one step alone need {}: set a smaller train.grad_accum_steps",
                    gigabytes(step)
                )
            }
            0 if fixed > free => format!("the model alone needs {}: take a smaller one", gigabytes(fixed)),
            0 => format!("set a smaller train.seq_len than {seq_len} or a smaller model{recompute}"),
            rows => {
                let steps = micro_batch_size.saturating_mul(*grad_accum_steps).div_ceil(rows);
                format!("set train.micro_batch_size={rows} and train.grad_accum_steps={steps}{recompute}")
            }
        };
        Err(Error::new(ErrorKind::Device, format!("not enough memory: {what}; {advice}")))
    }
}

fn largest_power_of_two(most: usize) -> usize {
    most.checked_ilog2().map_or(0, |exponent| 1 << exponent)
}

fn gigabytes(bytes: f64) -> String {
    format!("{:.1} GB", bytes / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Gpt2Config;

    /// What is said with so many bytes free of 12.6 million parameters and 64 sequences of 1024 tokens.
    fn line(free: f64, train: TrainConfig) -> Option<String> {
        line_of(OptimizerKind::AdamW, free, train)
    }

    fn line_of(optimizer: OptimizerKind, free: f64, train: TrainConfig) -> Option<String> {
        let (n_embd, n_layer, n_head, n_positions) = (512, 4, 8, 1024);
        let config =
            Gpt2Config { vocab_size: 256, n_embd, n_layer, n_head, n_positions, ..Default::default() };
        let train = TrainConfig { micro_batch_size: 64, seq_len: 1024, ..train };
        let model = &ModelConfig::Gpt2(config);
        let (head, rows, tokens_per_row) = (Head::LanguageModel, 64, 1024.0);
        let train = &train;
        let asked = Asked { model, head, train, optimizer, rows, tokens_per_row, trains_all: true };
        let error = asked.fits(free).err()?;
        assert_eq!(error.kind, ErrorKind::Device);
        Some(error.to_string())
    }

    #[test]
    fn the_line_says_what_is_needed_and_what_fits() {
        // 4 layers x 16 widths x 4 bytes x 65,536 tokens are 8.6 GB.
        let train = TrainConfig::default();
        assert_eq!(line(9e9, train.clone()), None);
        let tight = line(4.7e9, train.clone()).unwrap();
        for part in [
            "64 x 1024 tokens at once need 8.8 GB or more, 4.7 GB are free",
            "train.micro_batch_size=32 and \
                      train.grad_accum_steps=2, or train.recompute=true",
        ] {
            assert!(tight.contains(part), "{tight}");
        }
        assert_eq!(line(4.7e9, TrainConfig { recompute: true, ..train.clone() }), None);
        assert!(line(0.3e9, train.clone()).unwrap().contains("set a smaller train.seq_len than 1024"));
        assert!(line(0.1e9, train).unwrap().contains("the model alone needs 0.2 GB: take a smaller one"));
    }

    #[test]
    fn muon_keeps_one_moment_of_each_matrix() {
        // 13.3 million parameters, 12.6 of them in matrices, take 213 MB with two moments and 163 MB with one.
        let train = TrainConfig::default();
        let alone = |optimizer| line_of(optimizer, 0.19e9, train.clone()).unwrap();
        assert!(alone(OptimizerKind::AdamW).contains("the model alone needs 0.2 GB: take a smaller one"));
        assert!(alone(OptimizerKind::Muon).contains("set a smaller train.seq_len than 1024"));
    }
}
