//! Kills and signals at any moment, as a user, a scheduler or a lost connection sends them.

use std::process::{Child, Stdio};
use std::time::Duration;

use libc::{SIGHUP, SIGINT, SIGKILL, SIGTERM};

use super::stories;
use super::story::{Story, is_earlier_checkpoint};
use super::times;
use crate::support::Folder;

/// Strikes before a story may end.
const STRIKES: u64 = 3;

/// Where the program speaks to.
const STDERR: &str = "stderr.txt";

/// The `i`-th of many moments that are spread over a story without a pattern of their own.
fn moment(story: &Story, i: u64) -> Duration {
    const GOLDEN_RATIO: f64 = 0.618_033_988_749_895;
    story.duration.mul_f64((i as f64 * GOLDEN_RATIO).fract())
}

fn start(folder: &Folder, line: &str) -> Child {
    let mut command = folder.command(&line.split_whitespace().collect::<Vec<_>>());
    let stderr = std::fs::File::create(folder.path(STDERR)).unwrap();
    command.env("RAYON_NUM_THREADS", "1").stdout(Stdio::null()).stderr(stderr);
    command.spawn().unwrap()
}

/// Stops a story by signals, goes on each time, and looks at how it ends.
fn strike(story: Option<Story>, signals: &[i32], few: u64) {
    let Some(story) = story else { return };
    let (all, mut done) = (times("TRAIN_KILLS", few), 0);
    for first in (0..all).step_by(STRIKES as usize) {
        let folder = story.before.copied();
        for i in first..(first + STRIKES).min(all) {
            let signal = signals[i as usize % signals.len()];
            let line = if i == first { &story.command } else { &story.again[0] };
            let mut child = start(&folder, line);
            std::thread::sleep(moment(&story, i));
            // SAFETY: kill only sends a signal, to a child that has not been waited for.
            unsafe { libc::kill(child.id() as i32, signal) };
            let ended = child.wait().unwrap();
            let code = ended.code();
            let said = folder.text(STDERR);
            // In time it does as asked, later it is done, before its first line the system ends it; what was there
            // before may have to be replaced.
            let fits = signal == SIGKILL || code.is_none() || code == Some(0) || code == Some(128 + signal);
            assert!(
                fits || said.contains("--overwrite"),
                "{}, strike {i} of {signal}: {code:?}: {said}",
                story.name
            );
            done += u64::from(code != Some(0));
        }
        let end = story.go_on(&folder).and_then(|()| story.compare(&folder, is_earlier_checkpoint));
        end.unwrap_or_else(|why| panic!("{}, strikes from {first}, {signals:?}: {why}", story.name));
    }
    println!("strikes | {} | {signals:?} | {done} of {all} came in time", story.name);
}

#[test]
fn a_killed_first_run_goes_on_to_the_same_end() {
    strike(stories::pretraining(), &[SIGKILL], 20);
}

#[test]
fn a_killed_replacement_goes_on_to_the_same_end() {
    strike(stories::replacing(), &[SIGKILL], 20);
}

#[test]
fn a_killed_comparison_goes_on_to_the_same_end() {
    strike(stories::comparing(), &[SIGKILL], 12);
}

#[test]
fn a_killed_replacement_of_a_comparison_goes_on_to_the_same_end() {
    strike(stories::comparing_anew(), &[SIGKILL], 12);
}

#[test]
fn a_run_that_is_asked_to_stop_goes_on_to_the_same_end() {
    strike(stories::pretraining(), &[SIGTERM, SIGINT, SIGHUP], 9);
    strike(stories::comparing(), &[SIGTERM, SIGINT, SIGHUP], 6);
}
