//! Pre-training by hand: from text to a model that writes, each station in plain sight.
//!
//! `cargo run --release --example own_loop` takes half a minute on two cores.

use candle_core::{DType, Device};
use train::data::{Batch, WindowSampler, demo};
use train::generate::{Generator, Sampling};
use train::model::{Dropout, Head, LanguageModel, LlamaConfig, ModelConfig, Params, parameter_specs};
use train::ops::GradientSums;
use train::optim::{Gradients, OptimConfig, Optimizer, Schedule, Stage, Update};
use train::tokenizer::{Tokenizer, TokenizerConfig};
use train::trainer::on_device;
use train::{Error, Result};

const STEPS: u64 = 300;
const SEQ_LEN: usize = 64;
const ROWS: u64 = 16;
const SEED: u64 = 1;

fn main() -> Result<()> {
    // Text -> token ids, an end of text after each document.
    let documents = demo::corpus().iter().flat_map(|(_, text)| text.split("\n\n").map(String::from));
    let documents: Vec<String> = documents.collect();
    let sizes = TokenizerConfig { vocab_size: 1024, ..Default::default() };
    let tokenizer = Tokenizer::train(documents.iter().cloned(), &sizes)?;
    let end = tokenizer.end_of_text();
    let ids =
        tokenizer.encode_batch(&documents)?.into_iter().flat_map(|document| [document, vec![end]].concat());
    let ids: Vec<u32> = ids.collect();
    let sampler =
        WindowSampler::new(ids.len() as u64, SEQ_LEN, SEED).ok_or(Error::data("too little text"))?;

    // A model over named parameters, and an optimizer for them.
    let config = ModelConfig::Llama(LlamaConfig {
        vocab_size: tokenizer.vocab_size(),
        hidden_size: 64,
        intermediate_size: 176,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        max_position_embeddings: 128,
        ..Default::default()
    });
    let device = Device::Cpu;
    let specs = parameter_specs(&config, Head::LanguageModel);
    let params = Params::init(&specs, SEED, &device)?;
    let model = LanguageModel::new(&config, &params.tracked(|_| true))?;
    let optim = OptimConfig { learning_rate: 3e-3, warmup_steps: 20, ..Default::default() };
    let groups = Stage::of_all(&specs, &optim).groups;
    let (schedule, mut optimizer) = (Schedule::new(&optim), Optimizer::new(&optim));

    for step in 0..STEPS {
        // Batch -> loss, the mean over all tokens in nats.
        let starts = (step * ROWS..(step + 1) * ROWS).map(|index| sampler.start(index) as usize);
        let batch = Batch::of_windows(starts.map(|start| &ids[start..start + SEQ_LEN + 1]));
        let (rows, targets) = on_device(&batch, &device)?;
        let loss = model.loss(&rows, &targets, 1.0 / batch.tokens() as f64, &mut Dropout::off())?;

        // Loss -> gradients -> clipping -> new parameters.
        let mut sums = GradientSums::default();
        sums.backward(&loss)?;
        let gradients = Gradients::of(sums, &params, |_| true)?;
        let (loss, norm) = (loss.value().to_dtype(DType::F64)?, gradients.norm()?);
        let learning_rate = schedule.learning_rate(step, step as f64 / STEPS as f64);
        let update = Update { groups: &groups, learning_rate, loss: &loss, norm: &norm, max_norm: 1.0 };
        optimizer.update(&params, &gradients, &update)?;
        if step % 25 == 0 || step + 1 == STEPS {
            println!("step {step:>3}  loss {:.3}", loss.to_scalar::<f64>()?);
        }
    }

    // The same parameters, which have moved, without autograd.
    let model = LanguageModel::new(&config, &params.detached())?;
    let prompt = "Dear ";
    let writer = Generator { model: &model, tokenizer: &tokenizer };
    let new = writer.ids(&tokenizer.encode(prompt)?, &Sampling::default(), SEED)?;
    println!("{prompt}{}", tokenizer.decode(&new)?);
    Ok(())
}
