//! What work says while it goes on: notes, warnings, and how far it is; whoever wants to hear it observes.
//!
//! Layer 0. Results never pass through here.

mod terminal;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use terminal::{Terminal, say};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For those who ask for more.
    Detail,
    /// For everybody who did not ask for silence.
    Note,
    /// For everybody.
    Warning,
}

/// Hears what work says; both methods do nothing unless implemented.
pub trait Observer: Send + Sync {
    /// A line of text.
    fn say(&self, _level: Level, _text: &str) {}

    /// A piece of work begins, moves on or ends.
    fn work(&self, _work: &Work<'_>) {}
}

/// How far a piece of work is, such as the steps of a training run.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// Tells pieces of work that go on at the same time apart.
    pub id: u64,
    /// What is done, in a word or two.
    pub label: &'a str,
    /// Units done so far.
    pub position: u64,
    /// Units in all, possibly an estimate; 0 where nothing is known yet.
    pub total: u64,
    /// Figures of the moment, such as loss and tokens per second.
    pub message: &'a str,
    /// As a line would matter that tells of it.
    pub level: Level,
    /// It is over, successful or not.
    pub ended: bool,
}

/// Hears nothing.
struct Silence;

impl Observer for Silence {}

/// Where work tells how it goes; copies tell the same observer.
#[derive(Clone)]
pub struct Progress {
    observer: Arc<dyn Observer>,
    /// 0 for the work that was asked for, more for work inside it.
    depth: u8,
}

impl Progress {
    /// Tells `observer`.
    pub fn to(observer: impl Observer + 'static) -> Self {
        Self { observer: Arc::new(observer), depth: 0 }
    }

    /// Tells nobody.
    pub fn silent() -> Self {
        Self::to(Silence)
    }

    /// The same observer for work inside work: notes become details, and details are left out.
    pub fn quieter(&self) -> Self {
        Self { observer: self.observer.clone(), depth: self.depth + 1 }
    }

    /// Whether it is of work inside work.
    pub fn is_inner(&self) -> bool {
        self.depth > 0
    }

    /// Says what everybody may want to know.
    pub fn note(&self, text: impl AsRef<str>) {
        self.say(1, text.as_ref());
    }

    /// Says what only few want to know.
    pub fn detail(&self, text: impl AsRef<str>) {
        self.say(0, text.as_ref());
    }

    /// Says what nobody should miss.
    pub fn warn(&self, text: impl AsRef<str>) {
        self.observer.say(Level::Warning, text.as_ref());
    }

    fn say(&self, importance: u8, text: &str) {
        if let Some(importance) = importance.checked_sub(self.depth) {
            self.observer.say(if importance == 0 { Level::Detail } else { Level::Note }, text);
        }
    }

    /// Begins a piece of work of `total` units; it ends when the value is dropped.
    pub fn bar(&self, label: &str, total: u64) -> Bar<'_> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let bar =
            Bar { progress: self, id, label: label.into(), position: Cell::new(0), total: total.into() };
        bar.tell("", false);
        bar
    }
}

/// A piece of work that tells how far it is.
pub struct Bar<'a> {
    progress: &'a Progress,
    id: u64,
    label: String,
    position: Cell<u64>,
    total: Cell<u64>,
}

impl Bar<'_> {
    /// Corrects the number of units, for work whose end is only estimated.
    pub fn set_total(&self, total: u64) {
        self.total.set(total);
    }

    /// Moves to `position` of the total and shows `message`, such as loss and tokens per second.
    pub fn advance_to(&self, position: u64, message: impl FnOnce() -> String) {
        self.position.set(position);
        self.tell(&message(), false);
    }

    fn tell(&self, message: &str, ended: bool) {
        let level = if self.progress.depth == 0 { Level::Note } else { Level::Detail };
        let (id, label, position, total) = (self.id, &self.label[..], self.position.get(), self.total.get());
        self.progress.observer.work(&Work { id, label, position, total, message, level, ended });
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        self.tell("", true);
    }
}
