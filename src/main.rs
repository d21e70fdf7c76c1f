//! The program: what concerns a whole process, then the command line.

use std::process::ExitCode;

use train::{commands, process, signals};

fn main() -> ExitCode {
    process::keep_freed_memory();
    signals::install();
    // On a worker of the thread pool work is shared out without going to sleep first. A pool of one thread must
    // stay free for the work of other threads, which this one waits for.
    if rayon::current_num_threads() > 1 { rayon::scope(|_| commands::main()) } else { commands::main() }
}
