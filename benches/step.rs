//! Whole training steps on random tokens: forward, backward, clipping, AdamW.
//!
//! `cargo bench --bench step -- SHAPE [SECONDS] [recompute] [cuda[:N]] [f32|tf32|bf16] [kernels]` prints one JSON
//! object, SHAPE matmul the rate of a product. The shapes are those of `scripts/bench_torch.py`, with tied heads:
//! GPT-2 style, but L30 of the Llama family; FT is S2's body with two classes at length 128. On a GPU, `kernels`
//! adds the time of each kernel on stderr, from five steps after the others. T1024 and C384 are S2 with that
//! sequence length, at the same tokens a step, and with that hidden size.

use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use rand::Rng;
use serde_json::{Value, json};
use train::Precision;
use train::Progress;
use train::data::Batch;
use train::internals::device;
use train::internals::{peak_memory_bytes, stream};
use train::keep_freed_memory;
use train::model::{
    Classifier, Dropout, Gpt2Config, Head, LanguageModel, LlamaConfig, ModelConfig, Params, Pooling,
    flops_per_token, parameter_specs,
};
use train::ops::{self, Traced, WeightLayout};
use train::optim::{OptimConfig, SpikeLimits};
use train::trainer::{BatchLoss, State, StepReport, StepSettings, on_device, step};
use train::{Error, Result};

/// Vocabulary, positions, width, layers, heads, rows of a batch, tokens of a row, classes (0: language model).
const SHAPES: [(&str, [usize; 8]); 7] = [
    ("S1", [4096, 128, 128, 4, 4, 32, 128, 0]),
    ("S2", [8192, 256, 256, 6, 8, 16, 256, 0]),
    ("S3", [50257, 256, 768, 12, 12, 4, 256, 0]),
    ("L30", [8192, 512, 512, 8, 8, 32, 512, 0]),
    ("G124", [50257, 1024, 768, 12, 12, 16, 1024, 0]),
    ("FT", [8192, 256, 256, 6, 8, 32, 128, 2]),
    ("FT-lengths", [8192, 256, 256, 6, 8, 32, 128, 2]),
];

/// MLP inner width of L30, whose parameters are 30 million.
const L30_INNER: usize = 1408;

/// Steps between two looks at the clock on a GPU, which the host runs ahead of.
const GPU_STEPS: usize = 10;

enum Model {
    Language(LanguageModel),
    Classifier(Box<Classifier>),
}

impl Model {
    fn loss(&self, batch: &Batch, scale: f64, dropout: &mut Dropout, device: &Device) -> Result<BatchLoss> {
        let (rows, targets) = on_device(batch, device)?;
        match self {
            Self::Language(model) => Ok(model.loss(&rows, &targets, scale, dropout)?.into()),
            Self::Classifier(model) => {
                let losses = ops::cross_entropy(&model.logits(&rows, dropout)?, &targets)?;
                let weights = (losses.value().ones_like()? * scale)?;
                Ok(ops::weighted_sum(&losses, &weights)?.into())
            }
        }
    }
}

/// Training on random tokens.
struct Training {
    config: ModelConfig,
    model: Model,
    sizes: [usize; 8],
    /// Tokens of each text of the pool that batches are drawn from; empty for full rows.
    lengths: Vec<usize>,
    state: State,
}

impl Training {
    fn new(shape: &str, sizes: [usize; 8], options: &Options) -> Result<Self> {
        let num_labels = sizes[7];
        let config = config(shape, sizes);
        let pooling = Pooling::Last;
        let head = match num_labels {
            0 => Head::LanguageModel,
            _ => Head::Classifier { num_labels, pooling },
        };
        let specs = parameter_specs(&config, head);
        let params = Params::init(&specs, 1, &options.device)?.computing_in(options.dtype)?;
        let weights = params.tracked(|_| true);
        let model = match head {
            Head::LanguageModel => {
                Model::Language(LanguageModel::new(&config, &weights)?.with_recompute(options.recompute))
            }
            Head::Classifier { .. } => Model::Classifier(Box::new(
                Classifier::new(&config, &weights, pooling)?.with_recompute(options.recompute),
            )),
        };
        let lengths = match std::env::var("LENGTHS") {
            Ok(path) if shape == "FT-lengths" => {
                let text = std::fs::read_to_string(path).map_err(|error| Error::usage(error.to_string()))?;
                text.split_whitespace().filter_map(|length| length.parse().ok()).collect()
            }
            _ => Vec::new(),
        };
        let state = State::of_all(params, &specs, &OptimConfig::default());
        Ok(Self { config, model, sizes, lengths, state })
    }

    fn batch(&self) -> Batch {
        let [vocab_size, _, _, _, _, rows, seq_len, num_labels] = self.sizes;
        let mut random = stream(1, "bench", &[self.state.counters.step]);
        let lengths: Vec<usize> = (0..rows)
            .map(|_| match self.lengths.len() {
                0 => seq_len,
                n => self.lengths[random.random_range(0..n)].clamp(1, seq_len),
            })
            .collect();
        let mut draw = |count: usize, below: usize| -> Vec<u32> {
            (0..count).map(|_| random.random_range(0..below as u32)).collect()
        };
        let tokens = lengths.iter().sum();
        let ids = draw(tokens, vocab_size);
        let targets = if num_labels == 0 { draw(tokens, vocab_size) } else { draw(rows, num_labels) };
        Batch { ids, lengths, targets }
    }

    fn step(&mut self) -> Result<StepReport> {
        let batch = self.batch();
        let (count, device) = (batch.targets.len() as f64, self.state.params.device());
        let settings = StepSettings {
            seed: 1,
            dropout: 0.0,
            learning_rate: 3e-4,
            max_grad_norm: 1.0,
            skip_spikes: SpikeLimits::default(),
        };
        let loss =
            |batch: &Batch, scale, dropout: &mut Dropout| self.model.loss(batch, scale, dropout, &device);
        step(&mut self.state, &[batch], count, &settings, loss)
    }
}

/// The model of a shape.
fn config(shape: &str, sizes: [usize; 8]) -> ModelConfig {
    let [vocab_size, n_positions, n_embd, n_layer, n_head, ..] = sizes;
    if shape == "L30" {
        ModelConfig::Llama(LlamaConfig {
            vocab_size,
            hidden_size: n_embd,
            intermediate_size: L30_INNER,
            num_hidden_layers: n_layer,
            num_attention_heads: n_head,
            num_key_value_heads: n_head,
            max_position_embeddings: n_positions,
            ..Default::default()
        })
    } else {
        ModelConfig::Gpt2(Gpt2Config {
            vocab_size,
            n_positions,
            n_embd,
            n_layer,
            n_head,
            ..Default::default()
        })
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
    keep_freed_memory();
    // As the program itself: on a worker of the thread pool.
    rayon::scope(|_| bench())
}

/// The best rate of a product of random numbers, which the shares of peak are relative to.
fn matmul(options: &Options) -> Result<()> {
    let side: usize = if options.device.is_cuda() { 8192 } else { 2048 };
    let values: Vec<f32> = (0..side * side).map(|i| (i * 7919 % 1013) as f32 / 1013.0 - 0.5).collect();
    let a = Tensor::from_vec(values, (side, side), &options.device)?.to_dtype(options.dtype)?;
    let (x, weight) = (Traced::from(&a), [Traced::from(&a)]);
    let mut best = f64::INFINITY;
    for _ in 0..12 {
        options.device.synchronize()?;
        let started = Instant::now();
        ops::linear(&x, &weight, None, WeightLayout::InOut)?;
        options.device.synchronize()?;
        best = best.min(started.elapsed().as_secs_f64());
    }
    println!("{}", json!({"peer": "train", "gflops": 2e-9 * (side as f64).powi(3) / best}));
    Ok(())
}

/// What stands behind the shape on the command line.
struct Options {
    secs: f64,
    recompute: bool,
    kernels: bool,
    device: Device,
    dtype: DType,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let has = |name: &str| arguments.iter().any(|argument| argument == name);
        let name = arguments.iter().find(|argument| argument.starts_with("cuda"));
        let device = device::open(name.map_or("cpu", String::as_str), &Progress::silent())?;
        let precision = match (has("f32"), has("tf32"), has("bf16")) {
            (true, ..) => Precision::F32,
            (_, true, _) => Precision::Tf32,
            (.., true) => Precision::Bf16,
            _ => Precision::Auto,
        };
        ops::allow_tf32(precision == Precision::Tf32);
        Ok(Self {
            secs: arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(10.0),
            recompute: has("recompute"),
            kernels: has("kernels"),
            dtype: precision.dtype(&device)?,
            device,
        })
    }
}

fn bench() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let shape = arguments.first().map_or("S1", String::as_str);
    let options = Options::parse(arguments.get(1..).unwrap_or_default())?;
    if shape == "matmul" {
        return matmul(&options);
    }
    let Some(sizes) = sizes(shape) else {
        let names =
            SHAPES.map(|(name, _)| name).join(", ") + ", T and a sequence length, C and a hidden size";
        return Err(Error::usage(format!("no shape is called {shape}; there are {names}")));
    };
    let mut training = Training::new(shape, sizes, &options)?;
    println!("{}", measure(&mut training, shape, &options)?);
    if options.kernels {
        print_kernels(|| training.step())?;
    }
    Ok(())
}

/// Steps until the time is up, and their figures.
fn measure(training: &mut Training, shape: &str, options: &Options) -> Result<Value> {
    let together = if options.device.is_cuda() { GPU_STEPS } else { 1 };
    let (mut times, mut tokens, mut loss) = (Vec::new(), 0, 0.0);
    for number in 0.. {
        let started = Instant::now();
        let reports: Vec<StepReport> = (0..together).map(|_| training.step()).collect::<Result<_>>()?;
        loss = StepReport::read_all(&reports)?.last().map_or(f64::NAN, |figures| figures.train_loss);
        if number >= 3 {
            times.push(started.elapsed().as_secs_f64() / together as f64);
            tokens += reports.iter().map(|report| report.tokens).sum::<u64>() / together as u64;
        }
        if times.len() >= 5 && times.iter().sum::<f64>() * together as f64 >= options.secs {
            break;
        }
    }
    let [vocab_size, _, _, _, _, rows, seq_len, num_labels] = training.sizes;
    let total: f64 = times.iter().sum();
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    let flops = flops_per_token(&training.config, if num_labels == 0 { vocab_size } else { 0 }, seq_len);
    let tokens_per_sec =
        if training.lengths.is_empty() { (rows * seq_len) as f64 / median } else { tokens as f64 / total };
    Ok(json!({
        "peer": "train", "shape": shape, "dtype": options.dtype.as_str(), "steps": times.len() * together,
        "median_ms": median * 1e3, "min_ms": times[0] * 1e3, "tokens_per_sec": tokens_per_sec,
        "sequences_per_sec": rows as f64 / median, "gflops": tokens_per_sec * flops / 1e9,
        "peak_mib": peak_memory_bytes() >> 20, "loss": loss,
        "gpu_mib": device::peak_gpu_bytes(&options.device) >> 20,
    }))
}

/// Milliseconds a step by kernel of ours, longest first, on stderr.
#[cfg(feature = "cuda")]
fn print_kernels(mut step: impl FnMut() -> Result<StepReport>) -> Result<()> {
    const STEPS: usize = 5;
    ops::time_kernels(true);
    let started = Instant::now();
    for _ in 0..STEPS {
        step()?.read()?;
    }
    let whole = started.elapsed().as_secs_f64() * 1e3 / STEPS as f64;
    let mut times: Vec<_> = ops::kernel_times()?.into_iter().collect();
    ops::time_kernels(false);
    times.sort_by(|(_, a), (_, b)| b.1.total_cmp(&a.1));
    let sum: f64 = times.iter().map(|(_, (_, ms))| ms / STEPS as f64).sum();
    eprintln!("{:<44}{:>9}{:>11}", "kernel", "launches", "ms a step");
    for (name, (launches, ms)) in times {
        eprintln!("{name:<44}{:>9}{:>11.4}", launches / STEPS, ms / STEPS as f64);
    }
    eprintln!("{:<53}{sum:>11.4}", "all of these");
    eprintln!("{:<53}{whole:>11.4}", "the step, with timing and a wait at its end");
    Ok(())
}

#[cfg(not(feature = "cuda"))]
fn print_kernels(_step: impl FnMut() -> Result<StepReport>) -> Result<()> {
    Err(Error::usage("kernels are timed on a GPU only"))
}
