//! Standard output and standard error that nobody reads, or that cannot be written.
#![cfg(unix)]

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{ExitStatus, Stdio};

use crate::support::Folder;

/// Runs `train` with these two streams.
fn run(folder: &Folder, line: &str, stdout: Stdio, stderr: Stdio) -> ExitStatus {
    let arguments: Vec<&str> = line.split_whitespace().collect();
    folder.command(&arguments).stdout(stdout).stderr(stderr).status().unwrap()
}

#[cfg(target_os = "linux")]
fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// A pipe whose reader has gone.
fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn a_run_goes_on_where_nobody_reads_its_messages() {
    let folder = Folder::new();
    let line = "pretrain --config pretrain.toml --overwrite -v";
    assert_eq!(run(&folder, line, Stdio::null(), unread()).code(), Some(0));
    #[cfg(target_os = "linux")]
    assert_eq!(run(&folder, line, Stdio::null(), full()).code(), Some(0));
    assert_eq!(folder.json("pretrained/run.json")["status"], "done");
}

#[test]
#[cfg(target_os = "linux")]
fn the_exit_code_is_the_same_where_the_error_cannot_be_told() {
    let folder = Folder::new();
    for (line, code) in [("nonsense", 2), ("pretrain --config missing.toml", 66)] {
        assert_eq!(run(&folder, line, Stdio::null(), full()).code(), Some(code), "{line}");
        assert_eq!(run(&folder, line, Stdio::null(), unread()).code(), Some(code), "{line}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn results_that_cannot_be_written_are_an_error() {
    let folder = Folder::pretrained();
    for line in ["generate pretrained --prompt the", "report pretrained", "--help", "completions bash"] {
        assert_eq!(run(&folder, line, full(), Stdio::null()).code(), Some(74), "{line}");
    }
}

#[test]
fn whoever_has_read_enough_of_the_results_is_no_error() {
    let folder = Folder::pretrained();
    folder.run("finetune --config finetune.toml").done();
    for line in ["report pretrained", "predict finetuned hello", "--help"] {
        assert_eq!(run(&folder, line, unread(), Stdio::null()).code(), Some(0), "{line}");
    }
    folder.write("many.txt", "a small dog walked to the river\n".repeat(2000));
    let arguments = ["predict", "finetuned", "--input", "many.txt"];
    let mut child = folder.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("{\"text\":\"a small dog"), "{first}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
