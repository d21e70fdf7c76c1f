//! Little of what a system gives: memory, handles, file size, threads, streams, a clock that goes.

use std::process::{Command, Output};

use super::interposed;
use super::stories;
use super::story::Story;
use super::times;
use crate::support::{Folder, needs};

/// Kilobytes below which the system cannot load the program at all.
const ENOUGH_TO_START: u64 = 96_000;

/// `train` from a shell that first does something else; `around` holds `TRAIN` where the command goes.
fn shell(folder: &Folder, line: &str, around: &str) -> Output {
    let train = folder.command(&line.split_whitespace().collect::<Vec<_>>());
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(around.replace("TRAIN", "\"$0\" \"$@\""))
        .arg(train.get_program())
        .args(train.get_args());
    shell.current_dir(folder.path(".")).env("RAYON_NUM_THREADS", "1").output().unwrap()
}

/// Asserts that the command does what it is asked, or ends by one of these codes, one line and no harm.
fn holds(story: &Story, around: &str, codes: &[i32]) -> Option<i32> {
    let folder = story.before.copied();
    let output = shell(&folder, &story.command, around);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    if code != Some(0) {
        assert!(code.is_some_and(|code| codes.contains(&code)), "{around}: {:?}: {stderr}", output.status);
        let errors = stderr.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(errors, 1, "{around}: {stderr}");
        story.go_on(&folder).unwrap_or_else(|why| panic!("{around}: {why}"));
    }
    story.compare(&folder, |_| false).unwrap_or_else(|why| panic!("{around}, {code:?}: {why}"));
    println!("limits | {} | {around} | {code:?}", story.name);
    code
}

#[test]
fn files_may_not_be_large() {
    let Some(story) = stories::replacing() else { return };
    let step = 64 / times("TRAIN_LIMITS", 1).min(64);
    let ended: Vec<_> = (0..256)
        .step_by(step as usize)
        .map(|blocks| holds(&story, &format!("ulimit -f {blocks}; TRAIN"), &[74]))
        .collect();
    assert_eq!((ended[0], ended[ended.len() - 1]), (Some(74), Some(0)));
}

#[test]
fn a_disk_is_full() {
    let Some(story) = stories::pretraining() else { return };
    let mounts = Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|status| status.success());
    if needs("namespaces", mounts.then_some(()), "`unshare -rm` may not mount a small disk").is_none() {
        return;
    }
    let step = 64 / times("TRAIN_LIMITS", 1).min(16);
    let on_disk = |kilobytes: u64| {
        let disk = format!("mkdir pretrained && mount -t tmpfs -o size={kilobytes}k none pretrained");
        // What is on it moves to a larger one.
        let moved = "cp -r pretrained moved && umount pretrained && rmdir pretrained && mv moved pretrained";
        let inside = format!("{disk} && {{ TRAIN; code=$?; {moved} && exit $code; }}");
        holds(&story, &format!("unshare -rm sh -c '{inside}' TRAIN"), &[73, 74])
    };
    let ended: Vec<_> = (4..600).step_by(step as usize).map(on_disk).collect();
    assert_eq!((ended[0], ended[ended.len() - 1]), (Some(74), Some(0)));
}

#[test]
fn few_files_may_be_open() {
    let Some(story) = stories::replacing() else { return };
    for handles in 4..12 {
        holds(&story, &format!("ulimit -n {handles}; TRAIN"), &[65, 66, 69, 73, 74]);
    }
}

#[test]
fn little_memory_is_given() {
    let Some(story) = stories::replacing() else { return };
    let step = 16_000 / times("TRAIN_LIMITS", 1).min(16);
    for kilobytes in (ENOUGH_TO_START..240_000).step_by(step as usize) {
        holds(&story, &format!("ulimit -v {kilobytes}; TRAIN"), &[69]);
    }
}

#[test]
fn too_many_threads_are_asked_for() {
    let Some(story) = stories::replacing() else { return };
    holds(&story, "ulimit -v 4000000; RAYON_NUM_THREADS=100000; TRAIN", &[69]);
}

#[test]
fn nobody_listens() {
    let Some(story) = stories::replacing() else { return };
    for streams in [">&- 2>&-", "2>/dev/full", "2>&1 | true", "2>&1 | head -c 100", "<&-"] {
        assert_eq!(holds(&story, &format!("TRAIN {streams}"), &[]), Some(0), "{streams}");
    }
    let folder = story.before.copied();
    assert_eq!(shell(&folder, "nonsense", "TRAIN 2>/dev/full").status.code(), Some(2));
}

#[test]
fn the_environment_is_bare_or_foreign() {
    let Some(story) = stories::replacing() else { return };
    for environment in [
        "env -i RAYON_NUM_THREADS=1",
        "env LC_ALL=tr_TR.UTF-8 LANG=de_DE.UTF-8 TZ=Pacific/Apia",
        "env -u HOME TMPDIR=/none",
    ] {
        assert_eq!(holds(&story, &format!("{environment} TRAIN"), &[]), Some(0), "{environment}");
    }
}

#[test]
fn the_clock_stands_or_goes_backwards() {
    let Some(story) = stories::replacing() else { return };
    for clock in ["backwards", "frozen"] {
        let folder = story.before.copied();
        let ended = interposed::run(&folder, &story.command, &[("FAULT_CLOCK", clock.into())]);
        assert_eq!(ended.code, Some(0), "{clock}: {}", ended.stderr);
        story.compare(&folder, |_| false).unwrap_or_else(|why| panic!("{clock}: {why}"));
        assert_eq!(interposed::run(&folder, "report finetuned", &[]).code, Some(0), "{clock}");
    }
}
