//! The one integration test binary; each module is what a user sees of one part.

mod bad_input;
mod data;
mod foreign;
mod formats;
mod golden;
mod hub;
mod hub_server;
mod labelled;
mod layers;
mod parity;
mod resume;
mod street;
mod support;
mod tokenizer;
