//! The program: what concerns a whole process, then the command line.

use std::process::ExitCode;

use train::{catch_signals, internals, keep_freed_memory};

fn main() -> ExitCode {
    keep_freed_memory();
    catch_signals();
    // On a worker of the thread pool work is shared out without going to sleep first. A pool of one thread must
    // stay free for the work of other threads, which this one waits for.
    if rayon::current_num_threads() > 1 { rayon::scope(|_| internals::main()) } else { internals::main() }
}
