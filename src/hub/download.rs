//! One request, watched from outside: it has no time limits of its own and cannot be interrupted.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

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

/// What went wrong with a request.
pub(super) enum Cause {
    /// The other side, or the way there.
    Network(Box<ureq::Error>),
    /// Reading the answer or writing the file.
    Disk(io::Error),
    /// How it was answered.
    Answer(String),
}

impl From<ureq::Error> for Cause {
    fn from(cause: ureq::Error) -> Self {
        Self::Network(Box::new(cause))
    }
}

impl From<io::Error> for Cause {
    fn from(cause: io::Error) -> Self {
        Self::Disk(cause)
    }
}

/// What the thread that downloads reports.
enum Event<T> {
    Size(u64),
    Bytes(u64),
    Done(Result<T, Cause>),
}

/// Reports progress to whoever waits.
pub(super) struct Beat<T>(Sender<Event<T>>);

impl<T> Beat<T> {
    /// A body of `size` bytes begins, of which the first `start` are here.
    pub(super) fn begins(&self, size: u64, start: u64) {
        self.send(Event::Size(size));
        self.send(Event::Bytes(start));
    }

    pub(super) fn comes(&self, bytes: u64) {
        self.send(Event::Bytes(bytes));
    }

    fn send(&self, event: Event<T>) {
        // A receiver that is gone has given up on this download.
        let _ = self.0.send(event);
    }
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
        work: impl FnOnce(&Beat<T>) -> Result<T, Cause> + Send + 'static,
    ) -> Result<T, Failure> {
        let (sender, events) = channel();
        let done = sender.clone();
        let download = move || {
            let result = work(&Beat(sender));
            let _ = done.send(Event::Done(result));
        };
        if let Err(cause) = std::thread::Builder::new().spawn(download) {
            let why = format!("cannot start a thread to fetch {}: {cause}", self.what);
            return Err(Failure::Final(Error::new(ErrorKind::Device, format!("{why}; raise ulimit -u"))));
        }
        let bar = self.progress.bar("downloading", 0);
        let (mut total, mut bytes, mut heard) = (0, 0, Instant::now());
        loop {
            match events.recv_timeout(TICK) {
                Ok(Event::Done(result)) => return result.map_err(|cause| failure(self.what, cause)),
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
                    signals::check().map_err(Failure::Final)?;
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
        signals::check()?;
        std::thread::sleep(TICK.min(pause));
    }
    Ok(())
}

/// Sorts errors by what can be done about them.
fn failure(what: &str, cause: Cause) -> Failure {
    use io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem, StorageFull};
    let passing = |why: String| Failure::Passing(ErrorKind::TryAgain, why);
    match cause {
        Cause::Network(cause) => match *cause {
            ureq::Error::StatusCode(status) => refusal(what, status),
            ureq::Error::RequireHttpsOnly(place) => {
                let why = format!("{what} was redirected to {place}, which is not encrypted");
                Failure::Final(Error::data(format!("{why}; check HF_ENDPOINT and any proxy")))
            }
            other => passing(other.to_string()),
        },
        Cause::Disk(cause)
            if matches!(cause.kind(), NotFound | PermissionDenied | ReadOnlyFilesystem | StorageFull) =>
        {
            Failure::Final(Error::writing(what.as_ref(), &cause))
        }
        Cause::Disk(cause) => passing(cause.to_string()),
        Cause::Answer(how) => {
            let why = format!("{what} was not answered as the Hub does: {how}");
            Failure::Final(Error::data(format!("{why}; check HF_ENDPOINT and any proxy")))
        }
    }
}

fn refusal(what: &str, status: u16) -> Failure {
    match status {
        401 | 403 => {
            let why = format!("no access to {what} (status {status})");
            let hint = "check its name, accept its terms on its page, and set HF_TOKEN where it is private";
            Failure::Final(Error::new(ErrorKind::MissingInput, format!("{why}; {hint}")))
        }
        408 | 425 | 429 | 500.. => {
            Failure::Passing(ErrorKind::TryAgain, format!("the Hub answers with status {status}"))
        }
        416 => Failure::Final(Error::data(format!("{what} is empty"))),
        _ => {
            let why = format!("{what} is not there (status {status})");
            let hint = "check owner, name, path and revision";
            Failure::Absent(Error::new(ErrorKind::MissingInput, format!("{why}; {hint}")))
        }
    }
}
