//! Every call of a story goes wrong, one at a time.

use std::collections::BTreeMap;

use libc::{EACCES, EIO, EMFILE, ENOSPC, EROFS, SIGINT, SIGTERM};

use super::interposed::{CALLS, Effect, Fault};
use super::stories;
use super::story::{End, Story};
use super::times;

/// What can happen at each kind of call.
const FAULTS: [(&str, &[Effect]); 12] = [
    (
        "write",
        &[
            Effect::Kill,
            Effect::PowerCut,
            Effect::Torn,
            Effect::Short,
            Effect::Error(ENOSPC),
            Effect::Error(EIO),
            Effect::Errors(ENOSPC),
            Effect::Signal(SIGTERM),
        ],
    ),
    ("read", &[Effect::Error(EIO)]),
    (
        "open",
        &[
            Effect::Kill,
            Effect::Error(EMFILE),
            Effect::Error(EACCES),
            Effect::Errors(EMFILE),
            Effect::Errors(EROFS),
            Effect::Signal(SIGINT),
        ],
    ),
    ("close", &[Effect::Kill, Effect::Error(EIO)]),
    ("mkdir", &[Effect::Kill, Effect::Error(ENOSPC), Effect::Errors(EROFS)]),
    ("rename", &[Effect::Kill, Effect::PowerCut, Effect::Error(EIO), Effect::Error(ENOSPC)]),
    ("remove", &[Effect::Kill, Effect::PowerCut, Effect::Error(EIO), Effect::Errors(EACCES)]),
    ("sync", &[Effect::Kill, Effect::PowerCut, Effect::Error(EIO), Effect::Errors(ENOSPC)]),
    ("truncate", &[Effect::Kill, Effect::Error(EIO)]),
    ("lock", &[Effect::Kill, Effect::Error(EIO)]),
    ("list", &[Effect::Error(EIO)]),
    ("stat", &[Effect::Kill, Effect::Error(EIO), Effect::Error(EACCES)]),
];

/// Tells a story with about `few` faults of each kind, spread evenly; TRAIN_FAULTS says how many times as many, and
/// TRAIN_CALL names the one call that goes wrong.
fn sweep(story: Option<Story>, few: u64) {
    let Some(story) = story else { return };
    let wanted = few * times("TRAIN_FAULTS", 1);
    let only = std::env::var("TRAIN_CALL").ok();
    let mut wrong = Vec::new();
    for (call, effects) in
        FAULTS.into_iter().filter(|(call, _)| only.as_ref().is_none_or(|only| only == call))
    {
        let calls = story.calls[call];
        for (turn, effect) in effects.iter().enumerate() {
            let step = calls.div_ceil(wanted).max(1);
            // Each effect has places of its own.
            let first = 1 + (step / 2 + turn as u64) % step;
            let mut ends: BTreeMap<End, u64> = BTreeMap::new();
            for at in (first..=calls).step_by(step as usize) {
                match story.with(Fault { call, at, effect: *effect }) {
                    Ok(end) => *ends.entry(end).or_default() += 1,
                    Err(why) => wrong.push(why),
                }
            }
            let ends: Vec<_> = ends.iter().map(|(end, times)| format!("{end}: {times}")).collect();
            println!("faults | {} | {call} {effect} | {}", story.name, ends.join(", "));
        }
    }
    println!("wrong | {} | {}", story.name, wrong.len());
    assert!(wrong.is_empty(), "{} wrong ends:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_kind_of_call_is_seen() {
    let Some(story) = stories::pretraining() else { return };
    for call in CALLS.iter().filter(|call| **call != "remove") {
        assert!(story.calls[call] > 0, "no {call}: the program goes around interpose.c");
    }
}

#[test]
fn a_first_run_with_its_cache() {
    sweep(stories::pretraining(), 1);
}

#[test]
fn a_run_that_replaces_another() {
    sweep(stories::replacing(), 3);
}

#[test]
fn a_run_that_goes_on() {
    sweep(stories::going_on(), 3);
}

#[test]
fn a_comparison() {
    sweep(stories::comparing(), 1);
}

#[test]
fn a_comparison_that_replaces_another() {
    sweep(stories::comparing_anew(), 1);
}

#[test]
fn an_exported_folder() {
    sweep(stories::exporting(), 2);
}

#[test]
fn an_exported_file() {
    sweep(stories::exporting_gguf(), 2);
}

#[test]
fn a_tokenizer() {
    sweep(stories::training_a_tokenizer(), 2);
}
