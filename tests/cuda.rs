//! Training on an NVIDIA GPU; every test needs one.

use candle_core::{DType, Device};
use rand::Rng;
use serde_json::Value;
use train::data::Batch;
use train::error::Result;
use train::model::{
    Dropout, Head, LanguageModel, LlamaConfig, ModelConfig, Params, TokenRows, parameter_specs,
};
use train::ops;
use train::optim::OptimConfig;
use train::progress::Progress;
use train::rng;
use train::trainer::{Evaluation, Loss, State, StepReport, StepSettings, Task, step};

use crate::support::{Folder, gpu};

const VOCAB_SIZE: u32 = 97;

/// Texts of a source that a model can learn: each token follows from the one before, most of the time.
struct Source {
    model: LanguageModel,
    device: Device,
    /// Factor of the loss; NaN for a step that goes wrong.
    factor: f64,
}

impl Task for Source {
    fn batches(&mut self, step: u64) -> Result<Vec<Batch>> {
        let mut random = rng::stream(3, "source", &[step]);
        let (rows, seq_len) = (8, 48);
        let (mut input_ids, mut targets) = (Vec::new(), Vec::new());
        for _ in 0..rows {
            let mut token = random.random_range(0..VOCAB_SIZE);
            for _ in 0..seq_len {
                input_ids.push(token);
                let follows = (token * 5 + 3) % VOCAB_SIZE;
                token =
                    if random.random_range(0..8) == 0 { random.random_range(0..VOCAB_SIZE) } else { follows };
                targets.push(token);
            }
        }
        Ok(vec![Batch { input_ids, rows, seq_len, lengths: vec![seq_len; rows], targets }])
    }

    fn count(&self, batch: &Batch) -> f64 {
        batch.targets.len() as f64
    }

    fn loss(&self, batch: &Batch, scale: f64, _head_only: bool, dropout: &mut Dropout) -> Result<Loss> {
        let inputs = ops::upload(&batch.input_ids, (batch.rows, batch.seq_len), &self.device)?;
        let targets = ops::upload(&batch.targets, batch.targets.len(), &self.device)?;
        let scale = scale * self.factor;
        Ok(self.model.loss(&TokenRows::equal(&inputs, 0)?, &targets, scale, dropout)?.into())
    }

    fn evaluate(&self, _progress: &Progress) -> Result<Evaluation> {
        unreachable!("a single step does not evaluate")
    }

    fn steps_per_epoch(&self) -> f64 {
        unreachable!("a single step knows no epochs")
    }
}

fn start(device: &Device, dtype: DType) -> (Source, State, StepSettings) {
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
    let trainable = params.iter().map(|(name, _)| name.to_string()).collect();
    let state = State::new(params, trainable, &OptimConfig::default());
    let settings = StepSettings {
        seed: 1,
        dropout: 0.0,
        learning_rate: 3e-3,
        head_learning_rate: 3e-3,
        head_only: false,
        max_grad_norm: 1.0,
    };
    (Source { model, device: device.clone(), factor: 1.0 }, state, settings)
}

/// Losses of 200 steps, as means over 20.
fn curve(device: &Device, dtype: DType) -> Vec<f64> {
    let (mut task, mut state, settings) = start(device, dtype);
    let reports: Vec<StepReport> =
        (0..200).map(|_| step(&mut task, &mut state, &settings).unwrap()).collect();
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
    let (mut task, mut state, settings) = start(&gpu, DType::BF16);
    step(&mut task, &mut state, &settings).unwrap().read().unwrap();
    let weights = |state: &State| {
        let flat = |var: &candle_core::Var| var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        state.params.iter().map(|(_, var)| flat(var)).collect::<Vec<_>>()
    };
    let before = weights(&state);
    task.factor = f64::NAN;
    let bad = step(&mut task, &mut state, &settings).unwrap();
    task.factor = 1.0;
    step(&mut task, &mut state, &settings).unwrap();
    let error = bad.read().unwrap_err();
    assert_eq!(train::commands::exit_code(error.kind), 76);
    assert!(error.to_string().contains("step 2"), "{error}");
    assert!(weights(&state) == before);
}

#[test]
fn doctor_measures_the_cpu_and_finds_every_op_right() {
    let folder = Folder::new();
    let found: Value = serde_json::from_str(&folder.run("doctor --device cpu --json").done().stdout).unwrap();
    assert!(found["cpu"]["f32_product_gflops"].as_f64().unwrap() > 0.0, "{found}");
    assert!(found["cpu"]["copy_gb_per_sec"].as_f64().unwrap() > 0.0, "{found}");
    assert!(found["cpu"]["threads"].as_u64().unwrap() > 0, "{found}");
    let ops = found["ops"].as_array().unwrap();
    for name in ["attention", "rms_norm", "layer_norm", "linear", "embedding", "head_cross_entropy", "adamw"]
    {
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
