//! The rules of the house that a compiler does not hold.

mod circles;
mod dependencies;
mod layers;
mod paths;
mod places;
mod sizes;
mod skipping;
mod source;
mod streams;
mod tokens;
