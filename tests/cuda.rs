//! Training on an NVIDIA GPU; every test needs one.

use candle_core::{DType, Device};
use rand::Rng;
use serde_json::Value;
use train::data::Batch;
use train::internals::stream;
use train::model::{Head, LanguageModel, LlamaConfig, ModelConfig, Params, parameter_specs};
use train::ops;
use train::optim::{OptimConfig, SpikeLimits};
use train::trainer::{State, StepReport, StepSettings, on_device, step};

use crate::support::{Folder, gpu};

const VOCAB_SIZE: u32 = 97;

/// Training on texts of a source that a model can learn.
struct Training {
    model: LanguageModel,
    state: State,
    settings: StepSettings,
}

impl Training {
    fn new(device: &Device, dtype: DType) -> Self {
        let config = ModelConfig::Llama(LlamaConfig {
            vocab_size: VOCAB_SIZE as usize,
            hidden_size: 64,
            intermediate_size: 176,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            num_key_value_heads: 1,
            ..LlamaConfig::default()
        });
        let specs = parameter_specs(&config, Head::LanguageModel);
        let params = Params::init(&specs, 1, device).unwrap().computing_in(dtype).unwrap();
        let model = LanguageModel::new(&config, &params.tracked(|_| true)).unwrap();
        let state = State::of_all(params, &specs, &OptimConfig::default());
        let settings = StepSettings {
            seed: 1,
            dropout: 0.0,
            learning_rate: 3e-3,
            max_grad_norm: 1.0,
            skip_spikes: SpikeLimits::default(),
        };
        Self { model, state, settings }
    }

    /// One step whose loss is multiplied by `factor`; NaN for one that goes wrong.
    fn step(&mut self, factor: f64) -> StepReport {
        let batch = batch(self.state.counters.step);
        let (count, device) = (batch.targets.len() as f64, self.state.params.device());
        step(&mut self.state, &[batch], count, &self.settings, |batch, scale, dropout| {
            let (rows, targets) = on_device(batch, &device)?;
            Ok(self.model.loss(&rows, &targets, scale * factor, dropout)?.into())
        })
        .unwrap()
    }
}

/// Each token follows from the one before, most of the time.
fn batch(step: u64) -> Batch {
    let mut random = stream(3, "source", &[step]);
    let (rows, seq_len) = (8, 48);
    let mut batch = Batch { lengths: vec![seq_len; rows], ..Batch::default() };
    for _ in 0..rows {
        let mut token = random.random_range(0..VOCAB_SIZE);
        for _ in 0..seq_len {
            batch.ids.push(token);
            let follows = (token * 5 + 3) % VOCAB_SIZE;
            token = if random.random_range(0..8) == 0 { random.random_range(0..VOCAB_SIZE) } else { follows };
            batch.targets.push(token);
        }
    }
    batch
}

/// Losses of 200 steps, as means over 20.
fn curve(device: &Device, dtype: DType) -> Vec<f64> {
    let mut training = Training::new(device, dtype);
    let reports: Vec<StepReport> = (0..200).map(|_| training.step(1.0)).collect();
    let figures = StepReport::read_all(&reports).unwrap();
    figures
        .chunks(20)
        .map(|chunk| chunk.iter().map(|figures| figures.train_loss).sum::<f64>() / 20.0)
        .collect()
}

#[test]
fn every_op_agrees_with_the_cpu_on_a_gpu() {
    let Some(gpu) = gpu() else { return };
    let wrong: Vec<_> =
        ops::check_kernels(&gpu).unwrap().into_iter().filter(|check| !check.passes()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn two_hundred_losses_on_a_gpu_stay_in_a_band_around_those_of_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let expected = curve(&Device::Cpu, DType::F32);
    assert!(expected[9] < 0.5 * expected[0], "the source is learned: {expected:?}");
    // Nats, for means over 20 steps: rounding moves single steps further, since the runs part slowly.
    for (dtype, band) in [(DType::F32, 0.02), (DType::BF16, 0.05)] {
        for (found, expected) in curve(&gpu, dtype).iter().zip(&expected) {
            assert!((found - expected).abs() <= band, "{dtype:?}: {found}, not {expected} +- {band}");
        }
    }
}

#[test]
fn two_runs_on_a_gpu_give_the_same_bits() {
    let Some(gpu) = gpu() else { return };
    for dtype in [DType::F32, DType::BF16] {
        assert_eq!(curve(&gpu, dtype), curve(&gpu, dtype), "{dtype:?}");
    }
}

#[test]
fn a_loss_that_is_not_finite_stops_every_later_update_on_a_gpu() {
    let Some(gpu) = gpu() else { return };
    let mut training = Training::new(&gpu, DType::BF16);
    training.step(1.0).read().unwrap();
    let weights = |state: &State| {
        let flat = |var: &candle_core::Var| var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        state.params.iter().map(|(_, var)| flat(var)).collect::<Vec<_>>()
    };
    let before = weights(&training.state);
    let bad = training.step(f64::NAN);
    training.step(1.0);
    let error = bad.read().unwrap_err();
    assert_eq!(train::internals::exit_code(error.kind), 76);
    assert!(error.to_string().contains("step 2"), "{error}");
    assert!(weights(&training.state) == before);
}

#[test]
fn doctor_measures_the_cpu_and_finds_every_op_right() {
    let folder = Folder::new();
    let found: Value = serde_json::from_str(&folder.run("doctor --device cpu --json").done().stdout).unwrap();
    assert!(found["cpu"]["f32_product_gflops"].as_f64().unwrap() > 0.0, "{found}");
    assert!(found["cpu"]["copy_gb_per_sec"].as_f64().unwrap() > 0.0, "{found}");
    assert!(found["cpu"]["threads"].as_u64().unwrap() > 0, "{found}");
    let ops = found["ops"].as_array().unwrap();
    let names =
        ["attention", "rms_norm", "layer_norm", "linear", "embedding", "head_cross_entropy", "adamw", "muon"];
    for name in names {
        assert!(ops.iter().any(|op| op["op"].as_str().unwrap().starts_with(name)), "{name} is not checked");
    }
    assert!(ops.iter().all(|op| op["passes"] == true), "{found}");
    let text = folder.run("doctor --device cpu").done().stdout;
    assert!(text.contains("cpu.threads") && text.contains("attention"), "{text}");
}

#[test]
fn a_gpu_that_is_not_there_is_an_error_and_so_is_a_precision_the_cpu_lacks() {
    let folder = Folder::new();
    folder.run("doctor --device cuda:77").fails(69, &["cuda:77", "--device cpu"]);
    let config = "pretrain --config pretrain.toml --device cpu --set train.precision=";
    for precision in ["bf16", "tf32"] {
        folder.run(&format!("{config}{precision}")).fails(2, &["train.precision", precision, "CPU", "auto"]);
    }
    folder.run(&format!("{config}f32")).done();
}
