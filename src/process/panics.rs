//! Panics: caught where a library panics on damaged input, told in one line where the fault is ours.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::{Mutex, PoisonError};

/// Where the newest panic happened; what was said there comes with its payload.
static PLACE: Mutex<String> = Mutex::new(String::new());

/// Lets panics be silent, so that whoever catches them says what they mean; with `RUST_BACKTRACE` set each one still
/// shows its trace. Concerns the whole process.
pub fn silence_panics() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        let place = info.location().map_or(String::new(), ToString::to_string);
        *PLACE.lock().unwrap_or_else(PoisonError::into_inner) = place;
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            usual(info);
        }
    }));
}

/// Runs code of a library that panics on damaged input; the words of its panic, where it does, as one line.
///
/// What `work` was changing is to be thrown away then.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|payload| words(payload.as_ref()))
}

/// As [`guarded`], for our own code: the error also says where it happened.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    guarded(work).map_err(|words| {
        let place = PLACE.lock().unwrap_or_else(PoisonError::into_inner);
        if place.is_empty() { words } else { format!("{words} at {place}") }
    })
}

fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
    let parts = text.split('\n').map(str::trim).filter(|part| !part.is_empty());
    match parts.collect::<Vec<_>>().join(" ") {
        words if words.is_empty() => "no reason given".into(),
        words => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_in_one_line_and_what_does_not_panic_is_handed_on() {
        assert_eq!(guarded(|| 7), Ok(7));
        let number = 3;
        let panics = || -> () { panic!("no\n  place {number}") };
        assert_eq!(guarded(panics).unwrap_err(), "no place 3");
        assert_eq!(guarded(|| -> () { panic::panic_any(1u8) }).unwrap_err(), "no reason given");
    }
}
