//! SIGINT, SIGTERM and SIGHUP: the first asks the work to end, the second ends the process at once.
//!
//! Layer 0. The handler notes the signal and sets an alarm. Loops ask between their steps; work that does not ask is
//! ended by the alarm, but for a training run, which saves a checkpoint first. Files are written under another name, so
//! none is left half-written.

use std::sync::Once;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// The first signal that came; 0 for none.
static RECEIVED: AtomicI32 = AtomicI32::new(0);
/// Training runs under way.
static TRAINING: AtomicUsize = AtomicUsize::new(0);

/// Lets SIGINT, SIGTERM and SIGHUP end a training run after its step, with a checkpoint, and other work within about a
/// second, with exit code 128 + the signal's number; a second signal ends the process at once. A SIGHUP that was ignored
/// at the start, as `nohup` does, stays so. A file that grows past the limit of the shell fails as on a full disk.
///
/// Concerns the whole process and every run in it from then on: after a signal each run ends at its first step.
pub fn catch_signals() {
    static CAUGHT: Once = Once::new();
    CAUGHT.call_once(system::catch);
}

/// The signal that asked the program to stop, if any.
pub fn pending() -> Option<i32> {
    Some(RECEIVED.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
}

/// Asked between the steps of long work.
///
/// Errors: a signal asked the program to stop (128 + its number).
pub fn check() -> Result<()> {
    match pending() {
        Some(signal) => {
            Err(Error::new(ErrorKind::Interrupted(signal), format!("stopped by signal {signal}")))
        }
        None => Ok(()),
    }
}

/// While this lives a signal waits for the training run, however long its step takes.
pub struct Training(());

impl Training {
    /// A training run begins.
    pub fn begin() -> Self {
        TRAINING.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Training {
    fn drop(&mut self) {
        TRAINING.fetch_sub(1, Ordering::SeqCst);
        if pending().is_some() {
            system::set_alarm();
        }
    }
}

#[cfg(unix)]
mod system {
    use std::sync::atomic::Ordering;

    use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGTERM};
    use signal_hook::low_level;

    use super::{RECEIVED, TRAINING};
    use crate::progress::say;

    /// Time that work has to end by itself.
    const GRACE_SECS: u32 = 1;

    pub fn catch() {
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            if signal == SIGHUP && is_ignored(signal) {
                continue;
            }
            // SAFETY: the handler calls nothing but atomics, alarm and _exit, all safe in a signal handler.
            if unsafe { low_level::register(signal, move || receive(signal)) }.is_err() {
                say(&format!("warning: cannot catch signal {signal}; it will not save a checkpoint"));
            }
        }
        // SAFETY: as above, and poll and write, which are safe there too.
        let alarm = unsafe { low_level::register(SIGALRM, ring) };
        if alarm.is_err() {
            say("warning: cannot catch the alarm; a second signal ends the program");
        }
        // SAFETY: ignoring a signal touches no memory.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    }

    /// Starts the time that work has to end by itself.
    pub fn set_alarm() {
        // SAFETY: alarm takes a number and has no precondition.
        unsafe { libc::alarm(GRACE_SECS) };
    }

    fn is_ignored(signal: i32) -> bool {
        // SAFETY: sigaction without a new action only fills the struct it is given; zero is a valid value of it.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &mut action) == 0
                && action.sa_sigaction == libc::SIG_IGN
        }
    }

    fn receive(signal: i32) {
        if RECEIVED.swap(signal, Ordering::SeqCst) != 0 {
            low_level::exit(128 + signal);
        }
        set_alarm();
    }

    /// The time is over.
    fn ring() {
        let signal = RECEIVED.load(Ordering::SeqCst);
        match (signal, TRAINING.load(Ordering::SeqCst)) {
            (0, _) => {}
            (_, 0) => {
                write_if_free(match signal {
                    SIGINT => b"error: stopped by signal 2\n",
                    SIGHUP => b"error: stopped by signal 1\n",
                    _ => b"error: stopped by signal 15\n",
                });
                low_level::exit(128 + signal);
            }
            _ => set_alarm(),
        }
    }

    /// Writes to stderr unless it would wait for a reader.
    fn write_if_free(line: &[u8]) {
        let mut stderr = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
        // SAFETY: poll is given one struct, write the bytes of one slice.
        unsafe {
            if libc::poll(&mut stderr, 1, 0) == 1 && stderr.revents & libc::POLLOUT != 0 {
                libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len());
            }
        }
    }
}

#[cfg(not(unix))]
mod system {
    use std::sync::atomic::Ordering;

    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::low_level;

    use super::{RECEIVED, TRAINING};
    use crate::progress::say;

    /// Without an alarm what is not training ends at once.
    pub fn catch() {
        for signal in [SIGINT, SIGTERM] {
            let receive = move || {
                let first = RECEIVED.swap(signal, Ordering::SeqCst) == 0;
                if !first || TRAINING.load(Ordering::SeqCst) == 0 {
                    low_level::exit(128 + signal);
                }
            };
            // SAFETY: the handler calls nothing but atomics and exit.
            if unsafe { low_level::register(signal, receive) }.is_err() {
                say(&format!("warning: cannot catch signal {signal}; it will not save a checkpoint"));
            }
        }
    }

    pub fn set_alarm() {}
}
