//! A command, what is there before it, and what it leaves behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::time::{Duration, Instant};

use super::interposed::{self, Effect, Ended, Fault};
use super::tree::{Tree, tree};
use crate::support::Folder;

/// Exit codes of a command that the system failed: damaged, missing, no memory, no place, I/O, try again.
const HONEST: [i32; 6] = [65, 66, 69, 73, 74, 75];

pub struct Story {
    pub name: &'static str,
    pub command: String,
    /// How a user goes on, in the order that errors advise it.
    pub again: [String; 2],
    /// Files and folders that the command leaves behind.
    results: &'static [&'static str],
    pub before: Folder,
    truth: Tree,
    /// Calls of the undisturbed command.
    pub calls: BTreeMap<&'static str, u64>,
    /// How long it took.
    pub duration: Duration,
}

/// What a fault came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The command did what it was asked, all the same.
    Unharmed,
    /// It ended with this exit code.
    Failed(i32),
    Killed,
}

impl Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unharmed => write!(f, "unharmed"),
            Self::Failed(code) => write!(f, "{code}"),
            Self::Killed => write!(f, "killed"),
        }
    }
}

impl Story {
    /// `command` in a copy of `before`; after a fault `again` is added to it, then `at_last` where that is refused.
    pub fn new(
        name: &'static str,
        before: Folder,
        command: &str,
        again: [&str; 2],
        results: &'static [&'static str],
    ) -> Self {
        let plain = command.replace(" --overwrite", "").replace(" --resume", "");
        let again = again.map(|flag| format!("{plain} {flag}"));
        let folder = before.copied();
        let start = Instant::now();
        let ended = interposed::run(&folder, command, &[]);
        let duration = start.elapsed();
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.stderr);
        let truth = tree(&folder, results);
        assert!(!truth.is_empty(), "{name} leaves nothing behind");
        Self { name, command: command.into(), again, results, before, truth, calls: ended.calls, duration }
    }

    /// Tells the story with a fault in it.
    ///
    /// Errors: what is wrong, in words.
    pub fn with(&self, fault: Fault) -> Result<End, String> {
        let told = |what: String| format!("{}, {fault}: {what}", self.name);
        let folder = self.before.copied();
        let ended = interposed::run(&folder, &self.command, &[("FAULT", fault.to_string())]);
        if !ended.struck {
            return Err(told("the fault did not come".into()));
        }
        let end = judge(&ended, fault.effect).map_err(told)?;
        if end != End::Unharmed {
            self.go_on(&folder).map_err(|why| told(format!("{end}, then {why}\nfirst: {}", ended.stderr)))?;
        }
        // A text that cannot be read is left out of the audit, and a warning says so.
        let audits_less = ["is left out of the audit", "overlaps with it may be missing"]
            .iter()
            .any(|words| ended.stderr.contains(words));
        let asked_to_stop = matches!(fault.effect, Effect::Signal(_));
        // An old folder that cannot be removed waits under another name until the run is opened again.
        let waits = |name: &str| end == End::Unharmed && name.contains(".old/");
        let may_differ = |name: &str| {
            audits_less && ["results.json", "audit.json"].iter().any(|file| name.ends_with(file))
                || asked_to_stop && is_earlier_checkpoint(name)
                || waits(name)
        };
        self.compare(&folder, may_differ)
            .map_err(|why| told(format!("{end}, then {why}\nfirst: {}", ended.stderr)))?;
        Ok(end)
    }

    /// Gives the command again until it succeeds.
    pub fn go_on(&self, folder: &Folder) -> Result<(), String> {
        let first = interposed::run(folder, &self.again[0], &[]);
        if first.code == Some(0) {
            return Ok(());
        }
        let last = first.stderr.lines().last().unwrap_or_default();
        if !self.again[1].split_whitespace().last().is_some_and(|flag| last.contains(flag)) {
            return Err(format!("'{}' ended with {:?} and no advice: {last}", self.again[0], first.code));
        }
        let second = interposed::run(folder, &self.again[1], &[]);
        if second.code != Some(0) {
            return Err(format!(
                "'{}', as advised, ended with {:?}: {}",
                self.again[1], second.code, second.stderr
            ));
        }
        Ok(())
    }

    /// What is there against what ought to be there, but for files that may differ or be missing.
    pub fn compare(&self, folder: &Folder, may_differ: impl Fn(&str) -> bool) -> Result<(), String> {
        let found = tree(folder, self.results);
        let names: BTreeSet<&String> = self.truth.keys().chain(found.keys()).collect();
        let what = |name: &String| match (self.truth.get(name), found.get(name)) {
            (Some(truth), Some(found)) => (truth != found).then(|| format!("{name} differs")),
            (_, None) => Some(format!("{name} is missing")),
            (None, _) => Some(format!("{name} is left over")),
        };
        let judged = names.into_iter().filter(|name| !may_differ(name));
        let wrong: Vec<String> = judged.filter_map(what).collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join(", ")) }
    }
}

/// A run that was asked to stop has a checkpoint of that step, and so may have lost an earlier one.
pub fn is_earlier_checkpoint(name: &str) -> bool {
    name.contains("checkpoints/") && !name.contains("step_000004")
}

/// Whether it ended in an honest way.
fn judge(ended: &Ended, effect: Effect) -> Result<End, String> {
    let Ended { code, signal, stderr, .. } = ended;
    if stderr.contains("panicked") {
        return Err(format!("a panic: {stderr}"));
    }
    if effect.ends_it() {
        return if *signal == Some(libc::SIGKILL) {
            Ok(End::Killed)
        } else {
            Err(format!("not killed: {code:?}"))
        };
    }
    let asked = match effect {
        Effect::Signal(signal) => Some(128 + signal),
        _ => None,
    };
    match code {
        Some(0) => Ok(End::Unharmed),
        Some(code) if HONEST.contains(code) && asked.is_none() || asked == Some(*code) => {
            let errors = stderr.lines().filter(|line| line.starts_with("error: ")).count();
            let last = stderr.lines().last().unwrap_or_default();
            if errors == 1 && last.starts_with("error: ") {
                Ok(End::Failed(*code))
            } else {
                Err(format!("exit code {code} with {errors} errors: {stderr}"))
            }
        }
        _ => Err(format!("ended with code {code:?}, signal {signal:?}: {stderr}")),
    }
}
