//! The one integration test binary; each module is what a user sees of one part.

mod bad_input;
mod data;
mod golden;
mod labelled;
mod layers;
mod parity;
mod resume;
mod street;
mod support;
mod tokenizer;
