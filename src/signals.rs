//! SIGINT and SIGTERM: the first asks the running step to finish and save, the second ends at once.
//!
//! Layer 0. The handler only sets flags; the training loop asks for them between steps.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};

static RECEIVED: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// Lets SIGINT and SIGTERM end a run after its step, with a checkpoint; a second signal ends the process. Concerns the
/// whole process and every run in it from then on: after a signal each run ends at its first step.
pub fn catch_signals() {
    RECEIVED.get_or_init(|| {
        let received = Arc::new(AtomicUsize::new(0));
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // The order matters: the second signal finds `asked` set by the first and ends the process.
            let second =
                signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, asked.clone());
            let first = signal_hook::flag::register(signal, asked.clone());
            let number = signal_hook::flag::register_usize(signal, received.clone(), signal as usize);
            if second.is_err() || first.is_err() || number.is_err() {
                eprintln!("warning: cannot catch signal {signal}; an interrupt will not save a checkpoint");
            }
        }
        received
    });
}

/// The signal that asked the program to stop, if any.
pub fn pending() -> Option<i32> {
    match RECEIVED.get().map_or(0, |received| received.load(Ordering::Relaxed)) {
        0 => None,
        number => Some(number as i32),
    }
}
