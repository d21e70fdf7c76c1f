//! Bars, notes and warnings on stderr; the only place that knows indicatif.
//!
//! On a terminal: one bar per piece of work, notes printed above them. Otherwise: plain lines, at most one per piece
//! of work every few seconds.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Level, Observer, Work};

/// Time between two plain lines of one piece of work.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Writes a line to stderr. Whether anybody can read it changes nothing else, so a closed or full stderr is no error.
pub fn say(line: &str) {
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// Shows on stderr what matters at least as much as asked for.
pub struct Terminal {
    bars: MultiProgress,
    is_terminal: bool,
    least: Level,
    /// Bar of each piece of work, and when it last had a plain line.
    open: Mutex<HashMap<u64, (ProgressBar, Instant)>>,
}

impl Terminal {
    /// Lines below `least` are left out; bars are shown where notes are.
    pub fn new(least: Level) -> Self {
        let is_terminal =
            std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let target = if is_terminal && least <= Level::Note {
            ProgressDrawTarget::stderr_with_hz(8)
        } else {
            ProgressDrawTarget::hidden()
        };
        Self { bars: MultiProgress::with_draw_target(target), is_terminal, least, open: Mutex::default() }
    }

    fn bar(&self, work: &Work<'_>) -> ProgressBar {
        let colour = if std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()) { "" } else { ".cyan" };
        let template =
            format!("{{prefix:24!}} [{{bar:24{colour}}}] {{pos}}/{{len}} {{msg}} {{elapsed}} eta {{eta}}");
        let style = ProgressStyle::with_template(&template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        self.bars.add(ProgressBar::new(work.total).with_style(style).with_prefix(work.label.to_string()))
    }
}

impl Observer for Terminal {
    fn say(&self, level: Level, text: &str) {
        if level >= self.least {
            let before = if level == Level::Warning { "warning: " } else { "" };
            // Bars come back by themselves. `suspend` would panic where the terminal is gone.
            let _ = self.bars.clear();
            say(&format!("{before}{text}"));
        }
    }

    fn work(&self, work: &Work<'_>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if work.ended {
            if let Some((bar, _)) = open.remove(&work.id) {
                bar.finish_and_clear();
            }
            return;
        }
        let (bar, last_line) = open.entry(work.id).or_insert_with(|| (self.bar(work), Instant::now()));
        bar.set_length(work.total);
        bar.set_position(work.position);
        if self.is_terminal {
            bar.set_message(work.message.to_string());
        } else if work.level >= self.least && last_line.elapsed() >= PLAIN_INTERVAL {
            *last_line = Instant::now();
            let Work { label, position, total, message, .. } = work;
            let eta = bar.eta().as_secs();
            say(&format!("{label}: {position}/{total} {message} eta {eta} s"));
        }
    }
}
