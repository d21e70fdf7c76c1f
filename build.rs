//! Records the commit the program is built from, where there is one.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // A path that is missing would make cargo run this every time.
    for path in [".git/HEAD", ".git/refs/heads"].iter().filter(|path| std::path::Path::new(path).exists()) {
        println!("cargo:rerun-if-changed={path}");
    }
    let commit = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    if let Some(commit) = commit.ok().filter(|output| output.status.success()) {
        println!("cargo:rustc-env=TRAIN_GIT_COMMIT={}", String::from_utf8_lossy(&commit.stdout).trim());
    }
}
