//! The one integration test binary; each module is what a user sees of one part.

#![allow(clippy::unwrap_used)]

mod audit;
mod bad_input;
mod compare;
mod corpus;
mod cuda;
mod data;
mod encoder;
mod eurobert;
#[cfg(target_os = "linux")]
mod faults;
mod foreign;
mod formats;
mod generate;
mod gguf;
mod golden;
mod golden_classifier;
mod hostile;
mod house;
mod hub;
mod hub_server;
mod itself;
mod kernels;
mod labelled;
mod library;
mod lora;
mod parity;
mod predict;
mod report;
mod resume;
mod run_folder;
mod scores;
mod signals;
mod skipped;
mod spikes;
mod streams;
mod street;
mod support;
mod tokenizer;
