//! The one thread pool.

use std::thread;

use rayon::ThreadPoolBuilder;

use super::memory::address_limit;
use crate::error::{Error, ErrorKind, Result};

/// Most threads that are started; the largest machines of today have fewer processors.
const MOST_THREADS: usize = 1024;

/// Addresses that a thread takes, bytes: the stack that Rust gives it, and a little for its signals.
const OF_A_THREAD: u64 = (2 << 20) + (64 << 10);

/// Starts the pool that all work shares: a thread per processor, or as many as `RAYON_NUM_THREADS` says.
///
/// Errors: too many, or the system refuses them (69); that it is started already (1).
pub fn start_threads() -> Result<()> {
    let asked = std::env::var("RAYON_NUM_THREADS").ok().and_then(|number| number.parse().ok()).unwrap_or(0);
    if asked > MOST_THREADS {
        let why = format!("RAYON_NUM_THREADS is {asked}; it must be at most {MOST_THREADS}");
        return Err(Error::new(ErrorKind::Device, format!("{why}; leave it out for one per processor")));
    }
    let threads = if asked > 0 { asked } else { thread::available_parallelism().map_or(1, usize::from) };
    let cannot = |cause: String| {
        let hint = "set RAYON_NUM_THREADS to fewer, or raise the limits of the shell (ulimit -u, ulimit -v)";
        Error::new(ErrorKind::Device, format!("cannot start {threads} threads: {cause}; {hint}"))
    };
    // Asked first: a thread that has room for its stack and none for its signals ends the process.
    if address_limit().is_some_and(|left| left < threads as u64 * OF_A_THREAD) {
        return Err(cannot("their stacks do not fit into the addresses that are left".into()));
    }
    ThreadPoolBuilder::new().build_global().map_err(|cause| cannot(cause.to_string()))
}
