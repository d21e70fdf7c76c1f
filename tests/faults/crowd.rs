//! Several processes at the same place at the same time.

use std::process::{Output, Stdio};

use super::stories;
use super::story::Story;
use super::times;
use crate::support::Folder;

/// Starts these commands at once and waits for all.
fn together(folder: &Folder, lines: &[String]) -> Vec<Output> {
    let start = |line: &String| {
        let mut command = folder.command(&line.split_whitespace().collect::<Vec<_>>());
        command.env("RAYON_NUM_THREADS", "1").stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let children: Vec<_> = lines.iter().map(start).collect();
    children.into_iter().map(|child| child.wait_with_output().unwrap()).collect()
}

fn one_does_it(story: Option<Story>, flag: &str, rounds: u64) {
    let Some(story) = story else { return };
    let rounds = times("TRAIN_ROUNDS", rounds);
    for _ in 0..rounds {
        let folder = story.before.copied();
        let line = format!("{} {flag}", story.command);
        let ended = together(&folder, &[line.clone(), line.clone(), line]);
        let said = || ended.iter().map(|ended| String::from_utf8_lossy(&ended.stderr)).collect::<Vec<_>>();
        let codes: Vec<_> = ended.iter().map(|ended| ended.status.code()).collect();
        assert!(codes.contains(&Some(0)), "{codes:?}: {:?}", said());
        assert!(codes.iter().all(|code| matches!(code, Some(0 | 73))), "{codes:?}: {:?}", said());
        // Without a flag only one may; to resume what is done is to be done as well.
        assert!(!flag.is_empty() || codes.iter().filter(|code| **code == Some(0)).count() == 1, "{codes:?}");
        story.compare(&folder, |_| false).unwrap_or_else(|why| panic!("{why}: {codes:?}"));
    }
    println!("rounds | three processes, {} {flag} | {rounds}", story.name);
}

#[test]
fn of_three_runs_in_one_folder_one_does_it_and_the_others_are_told() {
    one_does_it(stories::pretraining(), "", 3);
}

#[test]
fn three_that_resume_one_run_do_it_once() {
    one_does_it(stories::pretraining(), "--resume", 2);
}

#[test]
fn of_three_comparisons_in_one_folder_one_does_it() {
    one_does_it(stories::comparing(), "", 1);
}

#[test]
fn runs_that_start_together_share_a_fresh_cache() {
    let Some(story) = stories::pretraining() else { return };
    let names = ["pretrained", "second", "third"];
    let rounds = times("TRAIN_ROUNDS", 3);
    for round in 0..rounds {
        let folder = story.before.copied();
        let lines = names.map(|name| format!("{} --set output_dir={name}", story.command));
        for ended in together(&folder, &lines) {
            let said = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.code(), Some(0), "round {round}: {said}");
        }
        story.compare(&folder, |_| false).unwrap_or_else(|why| panic!("round {round}: {why}"));
        let weights = |name: &str| folder.bytes(&format!("{name}/model/model.safetensors"));
        assert!(names.iter().all(|name| weights(name) == weights("pretrained")), "round {round}");
    }
    println!("rounds | three runs, one fresh cache | {rounds}");
}
