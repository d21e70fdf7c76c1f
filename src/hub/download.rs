//! One request of hf-hub, watched from outside: the crate has no time limits and cannot be interrupted.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use hf_hub::api::sync::ApiError;

use crate::error::{Error, ErrorKind};
use crate::progress::Progress;
use crate::signals;

/// Why a request did not work out.
pub(super) enum Failure {
    /// Another try would end the same.
    Final(Error),
    /// There is no such file.
    Absent(Error),
    /// Another try may work; the code and reason if it does not.
    Passing(ErrorKind, String),
}

/// What the thread that downloads reports.
enum Event<T> {
    Size(u64),
    Bytes(u64),
    Done(Result<T, ApiError>),
}

/// Passes hf-hub's progress on.
pub(super) struct Beat<T>(Sender<Event<T>>);

impl<T> hf_hub::api::Progress for Beat<T> {
    fn init(&mut self, size: usize, _filename: &str) {
        // A receiver that is gone has given up on this download.
        let _ = self.0.send(Event::Size(size as u64));
    }

    fn update(&mut self, size: usize) {
        let _ = self.0.send(Event::Bytes(size as u64));
    }

    fn finish(&mut self) {}
}

/// How long a request may be silent, and where its progress is shown.
pub(super) struct Watch<'a> {
    pub what: &'a str,
    pub silence: Duration,
    pub progress: &'a Progress,
}

/// How often signals are looked for.
const TICK: Duration = Duration::from_millis(100);

impl Watch<'_> {
    /// Runs `work` on a thread of its own until it is done, silent for too long, or the program is to stop; in the
    /// last two cases the thread is left behind, and its part of the file with it.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(Beat<T>) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, Failure> {
        let (sender, events) = channel();
        let done = sender.clone();
        std::thread::spawn(move || {
            let result = work(Beat(sender));
            let _ = done.send(Event::Done(result));
        });
        let bar = self.progress.bar("downloading", 0);
        let (mut total, mut bytes, mut heard) = (0, 0, Instant::now());
        loop {
            match events.recv_timeout(TICK) {
                Ok(Event::Done(result)) => return result.map_err(|cause| failure(self.what, &cause)),
                Ok(Event::Size(size)) => {
                    // It is told anew at each beginning of a body.
                    (total, bytes) = (size, 0);
                    bar.set_total(total);
                }
                Ok(Event::Bytes(count)) => {
                    bytes += count;
                    bar.advance_to(bytes, || "bytes".into());
                }
                Err(RecvTimeoutError::Timeout) => {
                    stop_if_asked().map_err(Failure::Final)?;
                    if heard.elapsed() > self.silence {
                        let secs = self.silence.as_secs_f64();
                        let why =
                            format!("{}: nothing came for {secs} s ({bytes} of {total} bytes)", self.what);
                        let hint = "check the network and try again; it goes on where it stopped";
                        return Err(Failure::Final(Error::new(
                            ErrorKind::TryAgain,
                            format!("{why}; {hint}"),
                        )));
                    }
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let why = format!("{}: the download ended without a result", self.what);
                    return Err(Failure::Final(Error::new(ErrorKind::Failed, why)));
                }
            }
            heard = Instant::now();
        }
    }
}

/// Sleeps; errors when the program is asked to stop.
pub(super) fn wait(pause: Duration) -> Result<(), Error> {
    let until = Instant::now() + pause;
    while Instant::now() < until {
        stop_if_asked()?;
        std::thread::sleep(TICK.min(pause));
    }
    Ok(())
}

fn stop_if_asked() -> Result<(), Error> {
    match signals::pending() {
        Some(signal) => Err(Error::new(
            ErrorKind::Interrupted(signal),
            format!("stopped by signal {signal} while downloading"),
        )),
        None => Ok(()),
    }
}

/// Sorts hf-hub's errors by what can be done about them.
fn failure(what: &str, cause: &ApiError) -> Failure {
    use std::io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem, StorageFull};
    let passing = |why: String| Failure::Passing(ErrorKind::TryAgain, why);
    match cause {
        ApiError::RequestError(cause) => match cause.as_ref() {
            ureq::Error::StatusCode(status @ (401 | 403)) => {
                let why = format!("no access to {what} (status {status})");
                let hint =
                    "check its name, accept its terms on its page, and set HF_TOKEN where it is private";
                Failure::Final(Error::new(ErrorKind::MissingInput, format!("{why}; {hint}")))
            }
            ureq::Error::StatusCode(status @ (408 | 425 | 429 | 500..)) => {
                passing(format!("the Hub answers with status {status}"))
            }
            ureq::Error::StatusCode(416) => Failure::Final(Error::data(format!("{what} is empty"))),
            ureq::Error::StatusCode(status) => {
                let why = format!("{what} is not there (status {status})");
                let hint = "check owner, name, path and revision";
                Failure::Absent(Error::new(ErrorKind::MissingInput, format!("{why}; {hint}")))
            }
            other => passing(other.to_string()),
        },
        ApiError::IoError(cause)
            if matches!(cause.kind(), NotFound | PermissionDenied | ReadOnlyFilesystem | StorageFull) =>
        {
            Failure::Final(Error::writing(what.as_ref(), cause))
        }
        ApiError::IoError(cause) => passing(cause.to_string()),
        ApiError::LockAcquisition(path) => {
            let why = format!("another process is fetching {what} ({})", path.display());
            Failure::Final(Error::new(ErrorKind::TryAgain, format!("{why}; wait for it")))
        }
        ApiError::InvalidResume => passing("the part fetched before is too long".into()),
        ApiError::TooManyRetries(cause) => failure(what, cause),
        other => {
            let why = format!("{what} was not answered as the Hub does: {other}");
            Failure::Final(Error::data(format!("{why}; check HF_ENDPOINT and any proxy")))
        }
    }
}
