#![no_main]

train_fuzz::target!("hub_name");
