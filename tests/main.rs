//! The one integration test binary; each module is what a user sees of one part.

mod audit;
mod bad_input;
mod compare;
mod data;
mod golden;
mod labelled;
mod layers;
mod report;
mod resume;
mod street;
mod support;
mod tokenizer;
