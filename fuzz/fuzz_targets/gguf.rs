#![no_main]

train_fuzz::target!("gguf");
