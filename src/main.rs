//! The program: what concerns a whole process, then the command line.

use std::process::ExitCode;

use train::internals::{install, keep_freed_memory, main as commands};

fn main() -> ExitCode {
    keep_freed_memory();
    install();
    // On a worker of the thread pool work is shared out without going to sleep first. A pool of one thread must
    // stay free for the work of other threads, which this one waits for.
    if rayon::current_num_threads() > 1 { rayon::scope(|_| commands()) } else { commands() }
}
