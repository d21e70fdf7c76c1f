//! The one integration test binary; each module is what a user sees of one part.

mod golden;
mod labelled;
