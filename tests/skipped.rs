//! What a test needs beside the program. Where it is missing the test is skipped: the last lines of the test
//! program say so, and `TRAIN_REQUIRE`, a list with commas, names what must not be missing.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// All that tests look for.
const NEEDS: [&str; 7] = ["cc", "chromium", "g++", "gpu", "namespaces", "python", "sms-spam"];

static SKIPPED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// What was found, or none after noting that this test is skipped and why.
///
/// Panics where `TRAIN_REQUIRE` names `what`, or something that no test looks for.
pub fn needs<T>(what: &str, found: Option<T>, why: impl Display) -> Option<T> {
    assert!(NEEDS.contains(&what), "{what} is missing in NEEDS");
    let required = std::env::var("TRAIN_REQUIRE").unwrap_or_default();
    let required: Vec<&str> = required.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    for name in &required {
        assert!(NEEDS.contains(name), "TRAIN_REQUIRE: {name} is none of {NEEDS:?}");
    }
    if found.is_none() {
        assert!(!required.contains(&what), "TRAIN_REQUIRE names {what}: {why}");
        let test = std::thread::current().name().unwrap_or("a test").to_string();
        note(format!("skipped: {test} needs {what}: {why}"));
    }
    found
}

/// The SMS Spam Collection and its fixed split: where the configs look for them, or beside the checkout.
pub fn sms_spam() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["data/sms-spam", "../shared/data/sms-spam"].map(|folder| root.join(folder));
    needs("sms-spam", folders.into_iter().find(|folder| folder.is_dir()), "no data/sms-spam")
}

fn note(line: String) {
    let mut skipped = SKIPPED.lock().unwrap_or_else(PoisonError::into_inner);
    if skipped.is_empty() {
        // SAFETY: `print_notes` takes nothing, lives as long as the process, and does not unwind.
        unsafe { libc::atexit(print_notes) };
    }
    skipped.insert(line);
}

/// Past the capture of the test harness.
extern "C" fn print_notes() {
    let skipped = SKIPPED.lock().unwrap_or_else(PoisonError::into_inner);
    for line in skipped.iter() {
        // Nobody is left to be told that standard error is closed.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}
