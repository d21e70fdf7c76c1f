#![no_main]

train_fuzz::target!("config_json");
