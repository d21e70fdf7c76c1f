//! The program: what concerns a whole process, then the command line.

use std::process::ExitCode;

use train::{catch_signals, internals, keep_freed_memory};

#[global_allocator]
static ALLOCATOR: internals::Allocator = internals::Allocator;

fn main() -> ExitCode {
    keep_freed_memory();
    catch_signals();
    internals::main()
}
