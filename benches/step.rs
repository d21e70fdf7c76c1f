//! Whole training steps on random tokens: forward, backward, clipping, AdamW.
//!
//! `cargo bench --bench step -- SHAPE [SECONDS] [recompute]` prints one JSON object, SHAPE matmul the rate of a
//! product. The shapes are those of `scripts/bench_torch.py`: GPT-2 style, tied head; FT is S2's body with two
//! classes at length 128. T1024 and C384 are S2 with that sequence length, at the same tokens a step, and with
//! that hidden size.

use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use rand::Rng;
use serde_json::json;
use train::data::Batch;
use train::error::{Error, Result};
use train::model::{
    Classifier, Dropout, Gpt2Config, Head, LanguageModel, ModelConfig, Params, Pooling, flops_per_token,
    parameter_specs,
};
use train::ops::{self, Traced, WeightLayout};
use train::optim::OptimConfig;
use train::progress::Progress;
use train::trainer::{Evaluation, State, StepSettings, Task, step, token_rows};
use train::{process, rng};

/// Vocabulary, positions, width, layers, heads, rows of a batch, tokens of a row, classes (0: language model).
const SHAPES: [(&str, [usize; 8]); 5] = [
    ("S1", [4096, 128, 128, 4, 4, 32, 128, 0]),
    ("S2", [8192, 256, 256, 6, 8, 16, 256, 0]),
    ("S3", [50257, 256, 768, 12, 12, 4, 256, 0]),
    ("FT", [8192, 256, 256, 6, 8, 32, 128, 2]),
    ("FT-lengths", [8192, 256, 256, 6, 8, 32, 128, 2]),
];

enum Model {
    Language(LanguageModel),
    Classifier(Classifier),
}

struct RandomTask {
    model: Model,
    sizes: [usize; 8],
    /// Tokens of each text of the pool that batches are drawn from; empty for full rows.
    lengths: Vec<usize>,
}

impl Task for RandomTask {
    fn batches(&mut self, step: u64) -> Result<Vec<Batch>> {
        let [vocab_size, _, _, _, _, rows, seq_len, num_labels] = self.sizes;
        let mut random = rng::stream(1, "bench", &[step]);
        let lengths: Vec<usize> = (0..rows)
            .map(|_| match self.lengths.len() {
                0 => seq_len,
                n => self.lengths[random.random_range(0..n)].clamp(1, seq_len),
            })
            .collect();
        let mut draw = |count: usize, below: usize| -> Vec<u32> {
            (0..count).map(|_| random.random_range(0..below as u32)).collect()
        };
        let input_ids = draw(rows * seq_len, vocab_size);
        let targets = if num_labels == 0 { draw(rows * seq_len, vocab_size) } else { draw(rows, num_labels) };
        Ok(vec![Batch { input_ids, rows, seq_len, lengths, targets }])
    }

    fn count(&self, batch: &Batch) -> f64 {
        batch.targets.len() as f64
    }

    fn loss(&self, batch: &Batch, scale: f64, dropout: &mut Dropout) -> Result<Traced> {
        let targets = Tensor::from_slice(&batch.targets, batch.targets.len(), &Device::Cpu)?;
        let rows = token_rows(batch, &Device::Cpu)?;
        match &self.model {
            Model::Language(model) => Ok(model.loss(&rows, &targets, scale, dropout)?),
            Model::Classifier(model) => {
                let losses = ops::cross_entropy(&model.logits(&rows, dropout)?, &targets)?;
                let weights = (losses.value().ones_like()? * scale)?;
                Ok(ops::weighted_sum(&losses, &weights)?)
            }
        }
    }

    fn evaluate(&self, _progress: &Progress) -> Result<Evaluation> {
        Err(Error::usage("a benchmark does not evaluate"))
    }

    fn steps_per_epoch(&self) -> f64 {
        f64::INFINITY
    }
}

/// The sizes that a name on the command line stands for.
fn sizes(name: &str) -> Option<[usize; 8]> {
    let named = |name: &str| SHAPES.iter().find(|(known, _)| *known == name).map(|(_, sizes)| *sizes);
    let [vocab_size, positions, hidden, layers, heads, rows, seq_len, labels] = named("S2")?;
    let number = name.get(1..).and_then(|number| number.parse::<usize>().ok()).filter(|&number| number > 0);
    match (name.chars().next(), number) {
        (Some('T'), Some(length)) => {
            let rows = (rows * seq_len / length).max(1);
            Some([vocab_size, length, hidden, layers, heads, rows, length, labels])
        }
        (Some('C'), Some(width)) => {
            let heads = (width * heads / hidden).max(1);
            Some([vocab_size, positions, width, layers, heads, rows, seq_len, labels])
        }
        _ => named(name),
    }
}

fn main() -> Result<()> {
    process::keep_freed_memory();
    // As the program itself: on a worker of the thread pool.
    rayon::scope(|_| bench())
}

/// The best rate of a 2048 x 2048 product, which the shares of peak are relative to.
fn matmul() -> Result<()> {
    const SIDE: usize = 2048;
    let a = Tensor::ones((SIDE, SIDE), DType::F32, &Device::Cpu)?;
    let (x, weight) = (Traced::from(&a), [Traced::from(&a)]);
    let mut best = f64::INFINITY;
    for _ in 0..12 {
        let started = Instant::now();
        ops::linear(&x, &weight, None, WeightLayout::InOut)?;
        best = best.min(started.elapsed().as_secs_f64());
    }
    println!("{}", json!({"peer": "train", "gflops": 2e-9 * (SIDE as f64).powi(3) / best}));
    Ok(())
}

fn bench() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let shape = arguments.first().map_or("S1", String::as_str);
    if shape == "matmul" {
        return matmul();
    }
    let secs: f64 = arguments.get(1).and_then(|secs| secs.parse().ok()).unwrap_or(10.0);
    let Some(sizes) = sizes(shape) else {
        let names = "S1, S2, S3, FT and FT-lengths, T and a sequence length, C and a hidden size";
        return Err(Error::usage(format!("no shape is called {shape}; there are {names}")));
    };
    let [vocab_size, n_positions, n_embd, n_layer, n_head, rows, seq_len, num_labels] = sizes;
    let config = ModelConfig::Gpt2(Gpt2Config {
        vocab_size,
        n_positions,
        n_embd,
        n_layer,
        n_head,
        ..Default::default()
    });
    let recompute = arguments.iter().any(|argument| argument == "recompute");
    let head = if num_labels == 0 {
        Head::LanguageModel
    } else {
        Head::Classifier { num_labels, pooling: Pooling::Last }
    };
    let params = Params::init(&parameter_specs(&config, head), 1, &Device::Cpu)?;
    let weights = params.tracked(|_| true);
    let model = if num_labels == 0 {
        Model::Language(LanguageModel::new(&config, &weights)?.with_recompute(recompute))
    } else {
        Model::Classifier(Classifier::new(&config, &weights, Pooling::Last)?.with_recompute(recompute))
    };
    let lengths = match std::env::var("LENGTHS") {
        Ok(path) if shape == "FT-lengths" => {
            let text = std::fs::read_to_string(path).map_err(|error| Error::usage(error.to_string()))?;
            text.split_whitespace().filter_map(|length| length.parse().ok()).collect()
        }
        _ => Vec::new(),
    };
    let trainable = params.iter().map(|(name, _)| name.to_string()).collect();
    let mut state = State::new(params, trainable, &OptimConfig::default());
    let mut task = RandomTask { model, sizes, lengths };
    let settings = StepSettings {
        seed: 1,
        dropout: 0.0,
        learning_rate: 3e-4,
        head_learning_rate: 3e-4,
        max_grad_norm: 1.0,
    };

    let (mut times, mut tokens, mut loss) = (Vec::new(), 0, 0.0);
    for number in 0.. {
        let started = Instant::now();
        let report = step(&mut task, &mut state, &settings)?;
        if number >= 3 {
            times.push(started.elapsed().as_secs_f64());
            tokens += report.tokens;
        }
        loss = report.train_loss;
        if times.len() >= 5 && times.iter().sum::<f64>() >= secs {
            break;
        }
    }
    let total: f64 = times.iter().sum();
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    let flops = flops_per_token(&config, if num_labels == 0 { vocab_size } else { 0 }, seq_len);
    let tokens_per_sec =
        if task.lengths.is_empty() { (rows * seq_len) as f64 / median } else { tokens as f64 / total };
    let result = json!({
        "peer": "train", "shape": shape, "steps": times.len(), "median_ms": median * 1e3, "min_ms": times[0] * 1e3,
        "tokens_per_sec": tokens_per_sec, "sequences_per_sec": rows as f64 / median,
        "gflops": tokens_per_sec * flops / 1e9, "peak_mib": process::peak_memory_bytes() >> 20, "loss": loss,
    });
    println!("{result}");
    Ok(())
}
