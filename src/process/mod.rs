//! This process: its memory, its threads and its panics.
//!
//! Layer 0.

mod allocator;
mod memory;
mod panics;
mod threads;

pub use allocator::Allocator;
pub use memory::{free_memory_bytes, keep_freed_memory, peak_memory_bytes};
pub use panics::{caught, guarded, silence_panics};
pub use threads::start_threads;
