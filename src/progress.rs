//! Bars, notes and warnings on stderr; the only place that knows indicatif.
//!
//! Layer 0. On a terminal: one bar per level, notes printed above them. Otherwise: plain lines, at most one
//! per bar every few seconds. Results never pass through here.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time between two plain lines of one bar.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Where progress goes and how much of it.
pub struct Progress {
    bars: MultiProgress,
    terminal: bool,
    verbosity: i8,
}

/// One level of work, such as the steps of a training run.
pub struct Bar<'a> {
    progress: &'a Progress,
    bar: ProgressBar,
    label: String,
    total: Cell<u64>,
    last_line: Cell<Instant>,
}

impl Progress {
    /// `verbosity`: -1 only warnings, 0 normal, 1 and more also details.
    pub fn new(verbosity: i8) -> Self {
        let terminal =
            std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb");
        let target = if terminal && verbosity >= 0 {
            ProgressDrawTarget::stderr_with_hz(8)
        } else {
            ProgressDrawTarget::hidden()
        };
        Self { bars: MultiProgress::with_draw_target(target), terminal, verbosity }
    }

    /// The same place with notes left out, for work inside work.
    pub fn quieter(&self) -> Self {
        Self { bars: self.bars.clone(), terminal: self.terminal, verbosity: self.verbosity.min(1) - 1 }
    }

    /// A line for everybody who did not ask for silence.
    pub fn note(&self, text: impl AsRef<str>) {
        if self.verbosity >= 0 {
            self.line(text.as_ref());
        }
    }

    /// A line only with `-v`.
    pub fn detail(&self, text: impl AsRef<str>) {
        if self.verbosity >= 1 {
            self.line(text.as_ref());
        }
    }

    /// A line that `-q` does not silence.
    pub fn warn(&self, text: impl AsRef<str>) {
        self.line(&format!("warning: {}", text.as_ref()));
    }

    fn line(&self, text: &str) {
        self.bars.suspend(|| eprintln!("{text}"));
    }

    /// Starts a bar of `total` units below those already shown.
    pub fn bar(&self, label: &str, total: u64) -> Bar<'_> {
        let colour = if std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()) { "" } else { ".cyan" };
        let template =
            format!("{{prefix:24!}} [{{bar:24{colour}}}] {{pos}}/{{len}} {{msg}} {{elapsed}} eta {{eta}}");
        let style = ProgressStyle::with_template(&template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let bar = self.bars.add(ProgressBar::new(total).with_style(style).with_prefix(label.to_string()));
        Bar {
            progress: self,
            bar,
            label: label.into(),
            total: Cell::new(total),
            last_line: Cell::new(Instant::now()),
        }
    }
}

impl Bar<'_> {
    /// Corrects the number of units, for work whose end is only estimated.
    pub fn set_total(&self, total: u64) {
        self.total.set(total);
        self.bar.set_length(total);
    }

    /// Moves to `position` of the total and shows `message`, such as loss and tokens per second.
    pub fn advance_to(&self, position: u64, message: impl FnOnce() -> String) {
        self.bar.set_position(position);
        let progress = self.progress;
        if progress.terminal {
            self.bar.set_message(message());
        } else if progress.verbosity >= 0 && self.last_line.get().elapsed() >= PLAIN_INTERVAL {
            self.last_line.set(Instant::now());
            let eta = self.bar.eta().as_secs();
            eprintln!("{}: {}/{} {} eta {eta} s", self.label, position, self.total.get(), message());
        }
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
