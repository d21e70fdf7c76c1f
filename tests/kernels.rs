//! CUDA kernels, run on the CPU by tests/kernels/emulate.hpp; needs g++ on x86-64 Linux.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::needs;

/// Compiles a file of tests/kernels with address checks; none where this machine cannot.
fn program(name: &str, folder: &Path) -> Option<Command> {
    let here = cfg!(all(target_arch = "x86_64", target_os = "linux"));
    let compiler = Command::new("g++").arg("--version").output().ok().filter(|_| here);
    needs("g++", compiler, "expected g++ on x86-64 Linux")?;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernels");
    let program = folder.join(name);
    let output = Command::new("g++")
        // -fno-weak: shared variables in templates; it warns of constants, which the kernels only read.
        .args(["-std=c++17", "-O1", "-w", "-fno-weak", "-fno-strict-aliasing", "-include", "emulate.hpp"])
        .args(["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-I.", "-o"])
        .arg(&program)
        .arg(format!("{name}.cpp"))
        .current_dir(sources)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(Command::new(program))
}

fn assert_success(output: &Output) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
}

#[test]
fn the_emulation_finds_the_faults_it_promises_to_find() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut program) = program("emulate", folder.path()) else { return };
    assert_success(&program.arg("sound").output().unwrap());
    for (fault, message) in [
        ("no_barrier", "depends on the order of threads"),
        ("half_a_barrier", "wait for threads that never come"),
        ("half_a_warp", "wait for threads that never come"),
        ("no_wait", "expected x == y"),
        ("out_of_bounds", "heap-buffer-overflow"),
        ("order_of_blocks", "depends on the order of threads"),
    ] {
        let output = Command::new(program.get_program()).arg(fault).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(message), "{fault}: {text}");
    }
}

#[test]
fn attention_kernels_agree_with_a_reference_in_f64() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = program("attention", folder.path()) else { return };
    let start =
        |kind| Command::new(program.get_program()).arg(kind).stdout(std::process::Stdio::piped()).spawn();
    let running = ["bf16", "tf32", "f32"].map(|kind| start(kind).unwrap());
    for child in running {
        assert_success(&child.wait_with_output().unwrap());
    }
}

#[test]
fn kernels_of_the_other_ops_agree_with_references_in_f64() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut program) = program("ops", folder.path()) else { return };
    assert_success(&program.output().unwrap());
}
