//! Text, labels, answers: pre-trains and fine-tunes a tiny model on the data inside the program, then asks it.
//!
//! `cargo run --example quickstart` takes some 20 seconds; the model is too small to be good.

use train::{Context, Existing, FinetuneConfig, PretrainConfig, Sampling, finetune, pretrain};

fn main() -> train::Result<()> {
    let context = Context { existing: Existing::Overwrite, ..Context::quiet() };
    let mut first = PretrainConfig::on("demo");
    first.output_dir = "runs/quickstart/pretrained".into();
    first.tokenizer.vocab_size = 1024;
    (first.train.seq_len, first.train.max_steps, first.optim.learning_rate) = (64, 100, 3e-3);
    let model = pretrain(&first, &context)?;
    println!("{:.2} bits per byte", model.results.validation.val_bits_per_byte);
    println!("{}", model.language_model()?.generate("I was going to", &Sampling::default(), 1)?);

    let mut second = FinetuneConfig::from(&model).on("demo");
    second.output_dir = "runs/quickstart/classifier".into();
    (second.train.seq_len, second.train.max_steps, second.optim.learning_rate) = (64, 150, 1e-3);
    let spam = finetune(&second, &context)?;
    println!("F1 {:.3} on the test rows", spam.results.scores.test.f1);
    for answer in spam.classifier()?.predict(["You have won a prize, call now!", "See you at six"])? {
        println!("{} with probability {:.3}", answer.label, answer.probability);
    }
    Ok(())
}
