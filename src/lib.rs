//! `train`: pre-trains a tiny transformer on raw text, fine-tunes it as a text classifier and compares
//! pre-trained with from-scratch runs.

pub mod error;
pub mod ops;
pub mod rng;
