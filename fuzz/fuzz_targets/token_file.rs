#![no_main]

train_fuzz::target!("token_file");
